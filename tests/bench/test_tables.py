"""Measured figures beside printed ones: only what was measured, and only of the same thing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from posebench.bench import tables
from posebench.bench.formats import html_table, latex, latex_text, markdown, markdown_text
from posebench.bench.measured import Runs
from posebench.bench.papers import load_table, table_names
from posebench.bench.tables import MEASURED, grid, join, tidy
from posebench.models import RECIPES
from posebench.recipe import Recipe, override
from posebench.structures import Inference
from tests.bench.runs import write_evaluation, write_times

CID = RECIPES["cid_hrnet_w32_coco"]
GROUP_POSE = RECIPES["group_pose_resnet50_coco"]


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have costs that are counted in no time and differ from all printed ones."""

    def describe(recipe: Recipe) -> dict[str, Any]:
        return {"params_M": 7.25, "gmacs": 11.125}

    monkeypatch.setattr(tables, "describe", describe)


def nothing(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "nothing")


def cells(name: str, figure: str, runs: Runs) -> list[float | None]:
    joined = join(load_table(name), runs)
    return [None if pd.isna(v) else float(v) for v in joined.rows[figure + MEASURED]]


@pytest.mark.parametrize("name", table_names())
def test_without_runs_all_printed_figures_and_nothing_else_is_shown(
    name: str, tmp_path: Path
) -> None:
    table = load_table(name)
    joined = join(table, nothing(tmp_path))
    assert joined.rows[list(table.rows.columns)].equals(table.rows)
    for figure in set(joined.figures) - set(tables.COST_COLUMNS):
        assert joined.rows[figure + MEASURED].isna().all()
    shown = grid(joined)
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
    assert cells("cid_table03", "params_M", nothing(tmp_path)) == [7.25, None, None, 7.25]
    assert cells("cid_table03", "GFLOPs", nothing(tmp_path)) == [11.125, None, None, 11.125]


def test_methods_that_the_zoo_does_not_hold_are_marked(tmp_path: Path) -> None:
    shown = grid(join(load_table("cid_table03"), nothing(tmp_path)))
    methods = [row[shown.headers.index("method")] for row in shown.rows]
    assert methods == ["HrHRNet", "DEKR †", "FCPose †", "CID *"]
    assert "† not in this zoo: printed figures only" in shown.notes[0]


def test_an_evaluation_fills_its_row(tmp_path: Path) -> None:
    short = override(CID, "epochs=35")
    write_evaluation(tmp_path / "eval/a", short, {"AP": 0.6512, "APM": 0.5, "AP50": -1.0})
    runs = Runs(tmp_path)
    assert cells("cid_table02", "AP", runs) == pytest.approx([None, None, 65.12, None])
    assert cells("cid_table02", "APM", runs) == [None, None, 50.0, None]
    assert cells("cid_table02", "AP50", runs) == [None] * 4  # there was nothing to find
    joined = join(load_table("cid_table02"), runs)
    assert "eval/a" in joined.rows["measured_from"][2]
    shown = grid(joined)
    assert shown.rows[2][shown.headers.index("AP measured")] == "65.1"


@pytest.mark.parametrize(
    "changed",
    [
        {"split": "train"},
        {"dataset": "ochuman"},
        {"tta": "none"},
        {"tta": "oracle"},
        {"command": ("posebench", "eval", "--annotations", "some.json")},
        {"recipe": CID},  # trained four times as long
        {"recipe": override(override(CID, "epochs=35"), "embedding=16")},
        {"recipe": override(override(CID, "epochs=35"), "inference.resize.short_side=640")},
    ],
)
def test_an_evaluation_of_something_else_leaves_the_row_empty(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    recipe = changed.pop("recipe", override(CID, "epochs=35"))
    write_evaluation(tmp_path / "eval/a", recipe, {"AP": 0.6512}, **changed)
    assert cells("cid_table02", "AP", Runs(tmp_path))[2] is None


def test_an_ablation_fills_the_row_of_its_settings(tmp_path: Path) -> None:
    recipe = override(override(CID, "epochs=35"), "embedding=16")
    write_evaluation(tmp_path / "train/a", recipe, {"AP": 0.5})
    assert cells("cid_table02", "AP", Runs(tmp_path)) == [None, 50.0, None, None]
    assert cells("cid_table01", "AP", Runs(tmp_path)) == [None] * 6


def test_the_newest_of_several_runs_counts(tmp_path: Path) -> None:
    import os

    for number, ap in enumerate((0.7, 0.6)):
        run = write_evaluation(tmp_path / f"eval/{1 - number}", GROUP_POSE, {"AP": ap})
        os.utime(run / "results.csv", (number, number))
    assert cells("grouppose_table04_c", "AP", Runs(tmp_path))[1] == 60.0


def test_several_scales_are_told_from_one(tmp_path: Path) -> None:
    recipe = RECIPES["posedet_hrnet_w48_crowdpose"]
    several = replace(
        recipe, inference=Inference(recipe.inference.resize, flip=True, scales=(0.5, 1.0))
    )
    where = {"dataset": "crowdpose", "split": "test"}
    write_evaluation(tmp_path / "eval/one", recipe, {"AP": 0.6}, **where)
    write_evaluation(tmp_path / "eval/several", several, {"AP": 0.7}, **where)
    assert cells("posedet_table03", "AP", Runs(tmp_path))[5] == 70.0
    assert cells("posedet_table04", "AP", Runs(tmp_path)) == [None, 60.0]


def test_a_table_of_several_trainings_has_a_recipe_for_each_column(tmp_path: Path) -> None:
    where = {"dataset": "ochuman", "split": "test"}
    elsewhere = CID.on("ochuman")
    write_evaluation(tmp_path / "eval/coco", elsewhere, {"AP": 0.4}, **where)
    own = RECIPES["cid_hrnet_w32_ochuman"]
    write_evaluation(tmp_path / "eval/own", own, {"AP": 0.5}, **where)
    runs = Runs(tmp_path)
    assert cells("cid_table06", "AP_trainCOCO_testOCHtest", runs)[10] == 40.0
    assert cells("cid_table06", "AP_trainOCHval_testOCHtest", runs)[10] == 50.0
    assert cells("cid_table06", "AP_trainCOCO_testOCHval", runs) == [None] * 12


def test_crowdpose_columns_have_other_names(tmp_path: Path) -> None:
    recipe = RECIPES["cid_hrnet_w32_crowdpose"]
    where = {"dataset": "crowdpose", "split": "test"}
    write_evaluation(tmp_path / "eval/a", recipe, {"APM": 0.71}, **where)
    assert cells("cid_table05", "APM_crowd", Runs(tmp_path))[7] == pytest.approx(71.0)


def test_times_of_the_papers_protocol_fill_their_sizes(tmp_path: Path) -> None:
    name = GROUP_POSE.name
    write_times(
        tmp_path / "speed/a",
        [
            {"recipe": name, "metric": "fps", "value": 3.0, "input_size": "480x800"},
            {"recipe": name, "metric": "fps", "value": 2.0, "input_size": "480x800", "people": 50},
            {"recipe": name, "metric": "latency_p50", "value": 900.0, "input_size": "800x1333"},
            {"recipe": name, "metric": "fps", "value": 9.0, "input_size": "800x1333",
             "protocol": "forward"},
            {"recipe": CID.name, "metric": "peak_MB", "value": 1500.0},
            {"recipe": CID.name, "metric": "fps", "value": math.nan},
        ],
    )  # fmt: skip
    runs = Runs(tmp_path)
    assert cells("grouppose_table06", "FPS", runs) == [None] * 6 + [3.0, None]
    assert cells("grouppose_table06", "time_ms", runs) == [None] * 7 + [900.0]
    assert cells("cid_table03", "memory_GB", runs) == [None, None, None, 1.5]
    assert cells("cid_table03", "FPS", runs) == [None] * 4


def test_times_of_two_machines_are_never_in_one_table(tmp_path: Path) -> None:
    import os

    for number, hardware in enumerate(("old", "new")):
        rows = [{"recipe": CID.name, "metric": "fps", "value": 5.0 + number, "hardware": hardware}]
        if not number:
            rows.append({**rows[0], "recipe": "higher_hrnet_w32_coco"})
        run = write_times(tmp_path / f"speed/{hardware}", rows)
        os.utime(run / "results.csv", (number, number))
    assert cells("cid_table03", "FPS", Runs(tmp_path)) == [None, None, None, 6.0]


def test_a_damaged_result_is_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "eval/a").mkdir(parents=True)
    (tmp_path / "eval/a/results.csv").write_text("nothing,of,this\n1,2,3\n")
    write_evaluation(tmp_path / "eval/b", override(CID, "epochs=35"), {"AP": 0.5})
    runs = Runs(tmp_path)
    assert runs.unreadable == [tmp_path / "eval/a/results.csv"]
    assert cells("cid_table02", "AP", runs)[2] == 50.0


def test_tidy_rows_say_what_is_printed_and_what_is_measured(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "eval/a", override(CID, "epochs=35"), {"AP": 0.5})
    rows = tidy(join(load_table("cid_table02"), Runs(tmp_path)))
    assert (rows["source"] == "paper:cid:table02").sum() == 20
    [measured] = rows[rows["source"] == "measured"].to_dict("records")
    assert (measured["metric"], measured["value"], measured["dataset"]) == ("AP", 50.0, "coco")
    assert (measured["recipe"], measured["split"]) == ("cid_hrnet_w32_coco epochs=35", "val")


def test_what_a_cell_holds_is_not_taken_for_markup(tmp_path: Path) -> None:
    shown = replace(
        grid(join(load_table("cid_table02"), nothing(tmp_path))),
        title="a | b_c <d>", headers=["x & y"], rows=[["50% of $_{}^~#\\ †"], ["<b>*|`"]],
        numeric=[False], notes=["[n](o) & <p>"],
    )  # fmt: skip
    assert markdown(shown) == (
        "### a \\| b\\_c \\<d\\>\n\n| x & y |\n| --- |\n| 50% of $\\_{}^\\~#\\\\ † |\n"
        "| \\<b\\>\\*\\|\\` |\n\n* \\[n\\](o) & \\<p\\>\n"
    )
    assert r"\caption{a | b\_c \textless{}d\textgreater{}}" in latex(shown)
    assert (
        r"50\% of \$\_\{\}\textasciicircum{}\textasciitilde{}\#\textbackslash{} \dag{} \\"
        in latex(shown)
    )
    page = html_table(shown)
    assert "<td>&lt;b&gt;*|`</td>" in page
    assert "<li>[n](o) &amp; &lt;p&gt;</li>" in page
