from __future__ import annotations

import subprocess
import sys

import pytest

import posebench.metrics

CODE = """
import sys

for name in ("torch", "torchvision", "pandas", "scipy", "numba", "cv2"):
    sys.modules[name] = None  # an import of it fails
import posebench.metrics
"""


def test_the_package_needs_no_heavy_library() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)


@pytest.mark.parametrize("name", posebench.metrics.__all__)
def test_a_name_is_imported_when_it_is_used(name: str) -> None:
    assert callable(getattr(posebench.metrics, name))


def test_scoring_a_file_needs_neither_torch_nor_numba() -> None:
    """Importing them takes longer than scoring 5,000 images."""
    code = CODE + "import posebench.metrics.scoring, posebench.metrics.results"
    subprocess.run([sys.executable, "-c", code], check=True)
