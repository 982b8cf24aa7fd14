"""The model tables of README.md and docs/which-model.md are those of the measured rows."""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from posebench.models import RECIPES

ROOT = Path(__file__).resolve().parents[1]


def load_script() -> ModuleType:
    """Return benchmarks/model_tables.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "model_tables", ROOT / "benchmarks" / "model_tables.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_tables"] = module
    spec.loader.exec_module(module)
    return module


tables = load_script()


@pytest.mark.parametrize("page", list(tables.PAGES))
def test_page_has_the_tables_of_the_rows(page: str) -> None:
    text = (ROOT / page).read_text()
    assert tables.filled(page, text, tables.read_timings()) == text, (
        "run `python benchmarks/model_tables.py`"
    )


def test_rows_are_those_of_the_speed_page() -> None:
    cells = re.findall(
        r"^\| `(\w+)` \| (\d+x\d+) \| [\d.]+ \| \d+ \| ([\d.e+]+) \|",
        (ROOT / "docs" / "speed.md").read_text(),
        re.M,
    )
    printed = {name: (size, float(median)) for name, size, median in cells}
    rows = {name: (t.input, *t.p50_ms) for name, t in tables.read_timings().items()}
    assert rows == printed
    assert set(rows) <= set(RECIPES)


def test_letters_say_how_the_authors_tested() -> None:
    recipe = RECIPES["cid_hrnet_w32_coco"]
    assert tables.ap_text(recipe, "coco", "val2017") == "69.8 r"
    assert tables.ap_text(recipe, "coco", "test-dev2017") == "68.9 f"
    assert tables.ap_text(RECIPES["posedet_dla34_coco"], "coco", "test-dev2017") == "59.2"
    assert tables.ap_text(RECIPES["dgcn_resnet50_coco"], "coco", "val2017") == "64.6 ?"
    assert tables.ap_text(recipe, "crowdpose", "test") == ""


def test_rows_are_made_of_speed_runs(tmp_path: Path) -> None:
    for name, medians in (("1", {"a": 20.0, "b": 10.04}), ("2", {"a": 21.0})):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "results.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(("recipe", "input_size", "metric", "value"))
            for recipe, value in medians.items():
                out.writerow((recipe, "64x96", "latency_p90", 99))
                out.writerow((recipe, "64x96", "latency_p50", value))
    tables.write_timings([tmp_path / "1", tmp_path / "2"], tmp_path / "rows.csv")
    made = tables.read_timings(tmp_path / "rows.csv")
    assert {k: (t.input, t.p50_ms) for k, t in made.items()} == {
        "b": ("64x96", (10.04,)),
        "a": ("64x96", (20.0, 21.0)),
    }
    assert list(made) == ["b", "a"]


def test_page_without_its_region_is_refused() -> None:
    with pytest.raises(ValueError, match="region 'zoo'"):
        tables.filled("docs/which-model.md", "# No table", tables.read_timings())
