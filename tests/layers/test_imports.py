"""Importing a layer loads neither numba nor torchvision before they are used."""

from __future__ import annotations

import subprocess
import sys


def test_compilers_and_torchvision_are_loaded_when_first_used() -> None:
    script = (
        "import sys\n"
        "import posebench.layers.folding, posebench.layers.sampling\n"
        "assert 'torchvision' not in sys.modules\n"
        "import posebench.layers.nms\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
