"""That listing datasets, and errors on the way to one, need none of the slow libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from posebench.data import DATASETS

BLOCK = """
import sys

for name in ("torch", "torchvision", "pandas", "scipy", "numba"):
    sys.modules[name] = None  # an import of it fails
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_datasets_are_imported_without_heavy_libraries() -> None:
    modules = [*(dataset.__name__ for dataset in DATASETS), "posebench.data.doctor"]
    result = run("".join(f"import {module}\n" for module in modules))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("list",), 0),
        (("doctor", "nowhere"), 3),
        (("doctor", "."), 3),
        (("doctor", ".", "--dataset", "cocoo"), 2),
        (("doctor", ".", "--dataset", "coco"), 3),
        (("synth", "out", "--layout", "cocoo"), 2),
        (("synth", "out", "--images", "1"), 2),
        (("synth",), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_usage_errors_come_without_heavy_libraries(arguments: tuple[str, ...], code: int) -> None:
    result = run("from posebench.cli import main\nmain()", "data", *arguments)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
