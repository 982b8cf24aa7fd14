"""Measured figures next to printed ones: never a copy of the printed figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from posebench.bench.markup import latex_text, markdown_text
from posebench.bench.tables.export import latex, markdown, text_table
from posebench.bench.tables.joined import COST_COLUMNS, LIMITS, MEASURED, join
from posebench.bench.tables.measured import Runs
from posebench.bench.tables.papers import load_table, table_names
from posebench.models import RECIPES
from posebench.recipe import override
from tests.bench.tables.runs import measured_cells, write_evaluation

CID = RECIPES["cid_hrnet_w32_coco"]


@pytest.mark.parametrize("name", table_names())
def test_without_runs_all_printed_figures_and_nothing_else_is_shown(
    name: str, tmp_path: Path
) -> None:
    table = load_table(name)
    joined = join(table, Runs(tmp_path / "nothing"))
    assert joined.rows[list(table.rows.columns)].equals(table.rows)
    for figure in set(joined.figures) - set(COST_COLUMNS):
        assert joined.rows[figure + MEASURED].isna().all()
    shown = text_table(joined)
    text = markdown(shown)
    assert len(text.splitlines()[2].split(" | ")) == len(shown.headers)
    for figure in joined.figures:
        column = [row[shown.headers.index(figure)] for row in shown.rows]
        assert column == list(table.rows[figure])
        assert f"{figure}{MEASURED}" in shown.headers
    for printed in table.rows["method"]:
        assert markdown_text(printed) in text
        assert latex_text(printed) in latex(shown)


def test_costs_are_counted_for_recipes_of_the_zoo_only(tmp_path: Path) -> None:
    # HigherHRNet, DEKR, FCPose, CID
    assert measured_cells("cid_table03", "params_M", Runs(tmp_path / "nothing")) == [
        7.25,
        7.25,
        None,
        7.25,
    ]
    assert measured_cells("cid_table03", "GFLOPs", Runs(tmp_path / "nothing")) == [
        11.125,
        11.125,
        None,
        11.125,
    ]


def test_a_table_of_several_trainings_has_a_recipe_for_each_column(tmp_path: Path) -> None:
    where: dict[str, Any] = {"dataset": "ochuman", "split": "test"}
    elsewhere = CID.on("ochuman")
    write_evaluation(tmp_path / "eval/coco", elsewhere, {"AP": 0.4}, **where)
    own = RECIPES["cid_hrnet_w32_ochuman"]
    write_evaluation(tmp_path / "eval/own", own, {"AP": 0.5}, **where)
    runs = Runs(tmp_path)
    assert measured_cells("cid_table06", "AP_trainCOCO_testOCHtest", runs)[10] == 40.0
    assert measured_cells("cid_table06", "AP_trainOCHval_testOCHtest", runs)[10] == 50.0
    assert measured_cells("cid_table06", "AP_trainCOCO_testOCHval", runs) == [None] * 12


def test_crowdpose_columns_have_other_names(tmp_path: Path) -> None:
    recipe = RECIPES["cid_hrnet_w32_crowdpose"]
    where: dict[str, Any] = {"dataset": "crowdpose", "split": "test"}
    write_evaluation(tmp_path / "eval/a", recipe, {"APM": 0.71}, **where)
    assert measured_cells("cid_table05", "APM_crowd", Runs(tmp_path))[7] == pytest.approx(71.0)


def test_tidy_rows_say_what_is_printed_and_what_is_measured(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "eval/a", override(CID, "epochs=35"), {"AP": 0.5})
    rows = join(load_table("cid_table02"), Runs(tmp_path)).tidy()
    assert (rows["source"] == "paper:cid:table02").sum() == 20
    [measured] = rows[rows["source"] == "measured"].to_dict("records")
    assert (measured["metric"], measured["value"], measured["dataset"]) == ("AP", 50.0, "coco")
    assert (measured["recipe"], measured["split"]) == ("cid_hrnet_w32_coco epochs=35", "val")


def test_a_measured_figure_has_its_interval_where_it_was_computed(tmp_path: Path) -> None:
    recipe = override(CID, "epochs=35")
    write_evaluation(tmp_path / "eval/a", recipe, {"AP": 0.5}, intervals={"AP": (0.4875, 0.5125)})
    joined = join(load_table("cid_table01"), Runs(tmp_path))
    low, high = (joined.rows["AP" + suffix].dropna() for suffix in LIMITS)
    assert list(low) == pytest.approx([48.75]) and list(high) == pytest.approx([51.25])
    shown = text_table(joined)
    cells = {row[shown.headers.index("AP" + MEASURED)] for row in shown.rows}
    assert "50.0 (48.8–51.2)" in cells
    tidy = joined.tidy()
    measured = tidy[(tidy["source"] == "measured") & (tidy["metric"] == "AP")]
    assert list(measured["low"]) == pytest.approx([48.75])
    assert list(measured["high"]) == pytest.approx([51.25])
    # Rows of earlier versions have none.
    path = tmp_path / "eval/a/results.csv"
    pd.read_csv(path).drop(columns=["low", "high"]).to_csv(path, index=False)
    joined = join(load_table("cid_table01"), Runs(tmp_path))
    assert not {"AP" + suffix for suffix in LIMITS} & set(joined.rows)
    assert joined.rows["AP" + MEASURED].notna().any()
