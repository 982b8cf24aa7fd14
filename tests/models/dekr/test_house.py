"""What a method takes in this house: its own folder, and a name here and there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "posebench"
METHOD = PACKAGE / "models" / "dekr"


def test_the_page_says_how_many_files_and_lines_the_method_takes() -> None:
    files = sorted(METHOD.glob("*.py"))
    lines = sum(len(file.read_text().splitlines()) for file in files)
    page = (ROOT / "docs" / "dekr.md").read_text()
    found = re.search(r"(\d+) files with about (\d+),(\d)00 lines", page)
    assert found is not None
    assert int(found[1]) == len(files)
    assert abs(int(found[2] + found[3]) * 100 - lines) <= 100, lines
    assert max(len(file.read_text().splitlines()) for file in files) < 400


def test_no_other_module_knows_the_method() -> None:
    """But for the registry, a study that times it, and sizes rounded as its authors do."""
    elsewhere = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "dekr" in path.read_text() and METHOD not in path.parents
    }
    assert elsewhere == {
        "models/__init__.py", "models/cid/studies.py", "structures.py", "layers/affine.py",
    }  # fmt: skip
