"""Runs fill the row of a table that they are a measurement of, and no other."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posebench.bench.tables.export import (
    text_table,
)
from posebench.bench.tables.joined import join
from posebench.bench.tables.measured import Runs
from posebench.bench.tables.papers import load_table
from posebench.models import RECIPES
from posebench.recipe import override
from posebench.structures import Inference
from tests.bench.tables.runs import measured_cells, write_evaluation, write_times

CID = RECIPES["cid_hrnet_w32_coco"]
GROUP_POSE = RECIPES["group_pose_resnet50_coco"]


def test_an_evaluation_fills_its_row(tmp_path: Path) -> None:
    short = override(CID, "epochs=35")
    write_evaluation(tmp_path / "eval/a", short, {"AP": 0.6512, "APM": 0.5, "AP50": -1.0})
    runs = Runs(tmp_path)
    assert measured_cells("cid_table02", "AP", runs) == pytest.approx([None, None, 65.12, None])
    assert measured_cells("cid_table02", "APM", runs) == [None, None, 50.0, None]
    assert measured_cells("cid_table02", "AP50", runs) == [None] * 4  # there was nothing to find
    joined = join(load_table("cid_table02"), runs)
    assert "eval/a" in joined.rows["measured_from"][2]
    shown = text_table(joined)
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
    assert measured_cells("cid_table02", "AP", Runs(tmp_path))[2] is None


def test_an_ablation_fills_the_row_of_its_settings(tmp_path: Path) -> None:
    recipe = override(override(CID, "epochs=35"), "embedding=16")
    write_evaluation(tmp_path / "train/a", recipe, {"AP": 0.5})
    assert measured_cells("cid_table02", "AP", Runs(tmp_path)) == [None, 50.0, None, None]
    assert measured_cells("cid_table01", "AP", Runs(tmp_path)) == [None] * 6


def test_the_newest_of_several_runs_counts(tmp_path: Path) -> None:
    for number, ap in enumerate((0.7, 0.6)):
        run = write_evaluation(tmp_path / f"eval/{1 - number}", GROUP_POSE, {"AP": ap})
        os.utime(run / "results.csv", (number, number))
    assert measured_cells("grouppose_table04_c", "AP", Runs(tmp_path))[1] == 60.0


def test_several_scales_are_told_from_one(tmp_path: Path) -> None:
    recipe = RECIPES["posedet_hrnet_w48_crowdpose"]
    several = replace(
        recipe, inference=Inference(recipe.inference.resize, flip=True, scales=(0.5, 1.0))
    )
    where: dict[str, Any] = {"dataset": "crowdpose", "split": "test"}
    write_evaluation(tmp_path / "eval/one", recipe, {"AP": 0.6}, **where)
    write_evaluation(tmp_path / "eval/several", several, {"AP": 0.7}, **where)
    assert measured_cells("posedet_table03", "AP", Runs(tmp_path))[5] == 70.0
    assert measured_cells("posedet_table04", "AP", Runs(tmp_path)) == [None, 60.0]


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
    assert measured_cells("grouppose_table06", "FPS", runs) == [None] * 6 + [3.0, None]
    assert measured_cells("grouppose_table06", "time_ms", runs) == [None] * 7 + [900.0]
    assert measured_cells("cid_table03", "memory_GB", runs) == [None, None, None, 1.5]
    assert measured_cells("cid_table03", "FPS", runs) == [None] * 4


def test_results_of_other_backends_are_in_no_table_of_a_paper(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"recipe": CID.name, "metric": "fps", "value": 5.0, "backend": "torch"},
        {"recipe": CID.name, "metric": "fps", "value": 9.0, "backend": "openvino"},
    ]
    write_times(tmp_path / "speed/a", rows)
    assert measured_cells("cid_table03", "FPS", Runs(tmp_path)) == [None, None, None, 5.0]


def test_times_of_two_machines_are_never_in_one_table(tmp_path: Path) -> None:
    for number, hardware in enumerate(("old", "new")):
        rows = [{"recipe": CID.name, "metric": "fps", "value": 5.0 + number, "hardware": hardware}]
        if not number:
            rows.append({**rows[0], "recipe": "higher_hrnet_w32_coco"})
        run = write_times(tmp_path / f"speed/{hardware}", rows)
        os.utime(run / "results.csv", (number, number))
    assert measured_cells("cid_table03", "FPS", Runs(tmp_path)) == [None, None, None, 6.0]


def test_a_damaged_result_is_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "eval/a").mkdir(parents=True)
    (tmp_path / "eval/a/results.csv").write_text("nothing,of,this\n1,2,3\n")
    write_evaluation(tmp_path / "eval/b", override(CID, "epochs=35"), {"AP": 0.5})
    runs = Runs(tmp_path)
    assert runs.unreadable == [tmp_path / "eval/a/results.csv"]
    assert measured_cells("cid_table02", "AP", runs)[2] == 50.0
