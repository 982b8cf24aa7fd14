from __future__ import annotations

import subprocess
import sys

import pytest

import posebench.metrics

CODE = """
import sys

for name in ("torch", "torchvision", "pandas", "scipy", "numba", "cv2", "faster_coco_eval"):
    sys.modules[name] = None  # an import of it fails
import posebench.metrics
"""


def test_the_package_needs_no_heavy_library() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)


@pytest.mark.parametrize("name", posebench.metrics.__all__)
def test_a_name_is_imported_when_it_is_used(name: str) -> None:
    assert callable(getattr(posebench.metrics, name))


def test_evaluation_needs_no_numba() -> None:
    code = "import sys; import posebench.metrics.scoring; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
