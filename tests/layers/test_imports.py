"""Importing a layer loads neither numba nor torchvision nor SciPy before they are used."""

from __future__ import annotations

import subprocess
import sys


def test_heavy_libraries_are_loaded_when_first_used() -> None:
    script = (
        "import sys\n"
        "from posebench.layers import folding, matching, nms, sampling\n"
        "assert not {'numba', 'scipy', 'torchvision'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
