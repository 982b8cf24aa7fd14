"""Importing the engine loads no library that only some commands need."""

from __future__ import annotations

import subprocess
import sys


def test_the_engine_loads_heavy_libraries_when_first_used() -> None:
    script = (
        "import sys, posebench.engine\n"
        "heavy = {'matplotlib', 'numba', 'pandas', 'scipy', 'timm', 'torchvision'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
