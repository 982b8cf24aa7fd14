"""Runs with models that take no time: rows, ranks, failures and resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from posebench.bench.selection import select_recipes
from posebench.bench.speed import (
    SpeedOptions,
    compared_models,
    run_speed_benchmark,
    with_alternatives,
)
from posebench.bench.speed.load import Counters
from posebench.bench.speed.options import RoundSchedule, input_cases
from posebench.bench.speed.rounds import Timing
from posebench.bench.speed.rows import COMPARED, timing_rows, with_comparisons
from posebench.engine.provenance import COLUMNS, PROTOCOL_VERSION, recipe_hash
from posebench.errors import UsageError
from posebench.models import RECIPES
from posebench.shipped import read_card
from posebench.skeleton import COCO
from tests.bench.speed.fakes import STATS, FakeModel, FragileModel

OPTIONS = SpeedOptions(schedule=RoundSchedule(rounds=3, turn_s=0, budget_s=100))
THREE = select_recipes(["cid_tiny", "higher_hrnet_tiny", "posedet_tiny"])


def values(rows: pd.DataFrame, recipe: str, **where: Any) -> dict[str, float]:
    own = rows[rows["recipe"] == recipe]
    for column, value in where.items():
        own = own[own[column] == value]
    assert own["metric"].is_unique
    return dict(zip(own["metric"], own["value"], strict=True))


def test_rows_hold_quantiles_stages_costs_and_comparisons(tmp_path: Path) -> None:
    rows = run_speed_benchmark(THREE, OPTIONS, tmp_path, make=FakeModel)
    found = values(rows, "higher_hrnet_tiny")
    # Turns of 22, 24 and 26 ms and a millisecond of decoding the image, each twice.
    assert found["latency_p50"] == pytest.approx(25)
    assert {name for name in found if name.startswith("latency")} == {
        "latency_p50", "latency_p90", "latency_p95", "latency_p99",
    }  # fmt: skip
    # Six passes carry no other percentile than the median.
    assert all(pd.isna(found[f"latency_{name}"]) for name in ("p90", "p95", "p99"))
    median = rows[(rows["recipe"] == "higher_hrnet_tiny") & (rows["metric"] == "latency_p50")]
    assert float(median["low"].iloc[0]) == pytest.approx(23)
    assert float(median["high"].iloc[0]) == pytest.approx(27)
    assert found["fps"] == pytest.approx(1000 / 25)
    assert found["forward_p50"] == pytest.approx(24)
    assert found["stage/decode image_p50"] == pytest.approx(1)
    assert found["stage/network/features_p50"] == pytest.approx(24)
    assert (found["passes"], found["rounds"]) == (6, 3)
    assert (found["params_MB"], found["activation_MB"], found["peak_MB"]) == (0.004, 0.002, 0.006)
    assert (found["gmacs"], found["gflops"], found["gflops_folded"]) == (1, 3, 2)
    assert [values(rows, r.name)["rank"] for r in THREE] == [1, 2, 3]
    # The slow rounds are slow for both: the interval is narrow.
    assert found["ratio_low"] < found["ratio"] < found["ratio_high"]
    assert found["ratio_high"] / found["ratio_low"] < 1.02
    assert set(rows[rows["metric"] == "ratio"]["unit"]) == {"times cid_tiny"}
    assert set(rows["input_size"]) == {"64x64"}
    assert set(rows["source"]) == {"measured"}
    assert (tmp_path / "rounds.csv").exists()
    own = rows[rows["recipe"] == "cid_tiny"].iloc[0]
    assert own["weights_sha256"] == read_card("cid_tiny").sha256
    assert own["protocol_version"] == PROTOCOL_VERSION
    assert own["recipe_hash"] == recipe_hash(RECIPES["cid_tiny"], COCO)
    assert own["seeds"] == "training 0, images 0" and own["data_hash"]


def test_rows_without_a_version_are_kept_and_those_of_another_are_timed_anew(
    tmp_path: Path,
) -> None:
    run_speed_benchmark(THREE[:2], OPTIONS, tmp_path, make=FakeModel)
    path = tmp_path / "results.csv"
    told: list[str] = []

    def again() -> pd.DataFrame:
        return run_speed_benchmark(
            THREE[:2], OPTIONS, tmp_path, make=FakeModel,
            on_progress=lambda name, what: told.append(name),
        )  # fmt: skip

    before = pd.read_csv(path, keep_default_na=False)
    before.drop(columns=list(COLUMNS)).to_csv(path, index=False)  # of an earlier version
    assert len(again()) == len(before) and told == []
    before["protocol_version"] = PROTOCOL_VERSION + 1
    before.to_csv(path, index=False)
    assert set(again()["protocol_version"]) == {PROTOCOL_VERSION}
    assert set(told) == {"cid_tiny", "higher_hrnet_tiny"}


@pytest.mark.parametrize(
    ("passes", "carried"),
    [
        (19, {"p50"}), (20, {"p50", "p90"}), (39, {"p50", "p90"}), (40, {"p50", "p90", "p95"}),
        (199, {"p50", "p90", "p95"}), (200, {"p50", "p90", "p95", "p99"}),
    ],
)  # fmt: skip
def test_a_percentile_needs_passes_enough(passes: int, carried: set[str]) -> None:
    timing = Timing("cid_tiny", 0, STATS, {0: [{"network/x": 0.001}] * passes})
    rows = timing_rows([timing], OPTIONS)
    known = rows[rows["metric"].str.startswith("latency") & rows["value"].notna()]
    assert set(known["metric"]) == {f"latency_{name}" for name in carried}


def test_the_load_of_a_row_is_a_column(tmp_path: Path) -> None:
    timing = Timing("cid_tiny", 0, STATS, {0: [{"network/x": 0.001}]})
    timing.load.add(Counters(busy_s=0, total_s=0), Counters(busy_s=5, total_s=10, own_s=1))
    rows = timing_rows([timing], OPTIONS)
    assert set(rows["load"]) == {"other processes 0.4 cores"}
    [group] = compared_models(rows)
    assert group.models[0].load == "other processes 0.4 cores"


def test_a_model_that_fails_is_a_row_and_not_the_end(tmp_path: Path) -> None:
    rows = run_speed_benchmark(THREE, OPTIONS, tmp_path, make=FragileModel)
    errors = rows.groupby("recipe")["error"].first().to_dict()
    assert errors["cid_tiny"] == ""
    assert "killed" in errors["higher_hrnet_tiny"]
    assert errors["posedet_tiny"] == "out of memory: cannot have 5 GB"
    assert values(rows, "cid_tiny")["rounds"] == 3
    assert values(rows, "higher_hrnet_tiny")["rounds"] == 1  # that it had is kept
    assert values(rows, "posedet_tiny").keys() == {"latency_p50"}
    assert pd.isna(values(rows, "posedet_tiny")["latency_p50"])


def test_resuming_measures_what_is_missing_or_failed(tmp_path: Path) -> None:
    told: list[str] = []

    def on_progress(name: str, what: str) -> None:
        if what == "prepares":
            told.append(name)

    first = run_speed_benchmark(
        THREE[:2], OPTIONS, tmp_path, make=FragileModel, on_progress=on_progress
    )
    assert told == ["cid_tiny", "higher_hrnet_tiny"]
    told.clear()
    rows = run_speed_benchmark(THREE, OPTIONS, tmp_path, make=FakeModel, on_progress=on_progress)
    assert told == ["higher_hrnet_tiny", "posedet_tiny"]
    assert set(rows["error"]) == {""}
    before, after = values(first, "cid_tiny"), values(rows, "cid_tiny")
    del after["rank"], before["rank"]
    assert after == pytest.approx(before, rel=0, nan_ok=True)
    assert [values(rows, r.name)["rank"] for r in THREE] == [1, 2, 3]
    # They had no round together with the first one.
    assert "ratio" not in values(rows, "posedet_tiny")
    told.clear()
    again = run_speed_benchmark(THREE, OPTIONS, tmp_path, make=FakeModel, on_progress=on_progress)
    assert told == []
    pd.testing.assert_frame_equal(rows, again)


def test_another_precision_is_another_ranking(tmp_path: Path) -> None:
    run_speed_benchmark(THREE[:2], OPTIONS, tmp_path, make=FakeModel)
    rows = run_speed_benchmark(
        THREE[1:], replace(OPTIONS, precision="bf16"), tmp_path, make=FakeModel
    )
    assert values(rows, "higher_hrnet_tiny", precision="fp32")["rank"] == 2
    assert values(rows, "higher_hrnet_tiny", precision="bf16")["rank"] == 1
    assert values(rows, "posedet_tiny", precision="bf16")["rank"] == 2


@pytest.mark.parametrize("column", COMPARED)
def test_rows_that_differ_in_how_they_were_made_are_never_ranked_together(column: str) -> None:
    same = dict.fromkeys(COMPARED, "x")
    places = [{**same, "recipe": name, column: value} for name, value in (("a", "x"), ("b", "y"))]
    rows = pd.DataFrame({**place, "metric": "latency_p50", "value": 1.0} for place in places)
    rounds = pd.DataFrame(
        {**place, "round": number, "seconds": 1.0 + index}
        for index, place in enumerate(places)
        for number in range(3)
    )
    compared = with_comparisons(rows.assign(unit="ms"), rounds)
    assert compared[compared["metric"] == "rank"]["value"].tolist() == [1, 1]
    assert not len(compared[compared["metric"] == "ratio"])


def test_every_number_of_people_is_a_case_of_its_own(tmp_path: Path) -> None:
    rows = run_speed_benchmark(
        THREE[:1], replace(OPTIONS, people=(1, 20)), tmp_path, make=FakeModel
    )
    # Turns one, three and five of the first; two, four and six of the second, ten longer.
    assert values(rows, "cid_tiny", people=1)["latency_p50"] == pytest.approx(14)
    assert values(rows, "cid_tiny", people=20)["latency_p50"] == pytest.approx(25)


def test_papers_have_their_own_sizes() -> None:
    paper = replace(OPTIONS, protocol="paper")
    sizes = {
        name: [case.size for case in input_cases(RECIPES[name], paper)]
        for name in ("cid_hrnet_w48_coco", "group_pose_resnet50_coco", "higher_hrnet_tiny")
    }
    assert sizes == {
        "cid_hrnet_w48_coco": [(640, 640)],
        "group_pose_resnet50_coco": [(480, 800), (800, 1333)],
        "higher_hrnet_tiny": [None],
    }
    assert [case.size for case in input_cases(RECIPES["cid_tiny"], OPTIONS)] == [None]


def test_only_models_whose_papers_compare_ways_have_alternatives() -> None:
    assert with_alternatives(THREE) == THREE[:1]
    with pytest.raises(UsageError, match="--alternatives"):
        with_alternatives(THREE[1:])


def test_interrupted_a_run_keeps_what_had_its_rounds(tmp_path: Path) -> None:
    def on_progress(name: str, what: str) -> None:
        if what == "round 4 of 9":
            raise KeyboardInterrupt

    options = replace(OPTIONS, schedule=RoundSchedule(rounds=9, turn_s=0, budget_s=100))
    with pytest.raises(KeyboardInterrupt):
        run_speed_benchmark(THREE[:2], options, tmp_path, make=FakeModel, on_progress=on_progress)
    rows = run_speed_benchmark(THREE[:1], options, tmp_path, make=FakeModel)
    assert values(rows, "cid_tiny")["rounds"] == 3


def test_options_are_named_in_results() -> None:
    assert SpeedOptions().label == "channels last"
    named = SpeedOptions(compiled=True, channels_last=False)
    assert named.label == "compiled"
