"""Results of a benchmark as they are printed and plotted."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from posebench.bench.speed import compared_models, pass_intervals, stage_curves

CONDITIONS = {
    "protocol": "forward", "case": 1, "people": 5, "batch_size": 1, "options": "channels last",
    "hardware": "cpu", "precision": "fp32", "input_size": "64x96",
}  # fmt: skip


def rows(recipe: str, values: dict[str, float], **changes: Any) -> list[dict[str, Any]]:
    common = {**CONDITIONS, "recipe": recipe, "error": "", **changes}
    return [{**common, "metric": metric, "value": value} for metric, value in values.items()]


def test_models_are_grouped_by_conditions_and_sorted_by_rank() -> None:
    table = pd.DataFrame(
        [
            *rows("slow", {"latency_p50": 20.0, "rank": 2.0}),
            *rows("failed", {"latency_p50": float("nan")}, error="out of memory"),
            *rows("fast", {"latency_p50": 10.0, "rank": 1.0, "stage/network/heads_p50": 4.0}),
            *rows("fast", {"latency_p50": 12.0, "rank": 1.0}, precision="bf16"),
        ]
    )
    first, second = compared_models(table)
    assert first.conditions == "forward, batch 1, 5 people, fp32, channels last, cpu"
    assert [model.recipe for model in first.models] == ["fast", "slow", "failed"]
    assert first.models[0].stages == {"network/heads": 4.0}
    assert first.models[0].input_size == "64x96"
    assert first.models[2].error == "out of memory"
    assert [model.values["latency_p50"] for model in second.models] == [12.0]


def test_curves_join_the_numbers_of_people() -> None:
    table = pd.DataFrame(
        [
            *rows("a", {"stage/postprocess_p50": 1.0}, people=1),
            *rows("a", {"stage/postprocess_p50": 7.0}, people=20),
            *rows("b", {"stage/postprocess_p50": 3.0}, people=1, error="killed"),
        ]
    )
    [curves] = stage_curves(table)
    assert curves == {"a": {"postprocess": {1: 1.0, 20: pytest.approx(7.0)}}}
    assert list(stage_curves(table[table["error"] != ""])) == []


def test_a_models_interval_is_that_of_its_median_pass() -> None:
    table = pd.DataFrame(rows("one", {"latency_p50": 10.0, "latency_p99": float("nan")}))
    [group] = compared_models(table)  # earlier versions wrote neither limits nor load
    assert (group.models[0].interval, group.models[0].load) == (None, "")
    table = table.assign(low=[9.0, float("nan")], high=[11.0, float("nan")], load="none seen")
    [group] = compared_models(table)
    assert (group.models[0].interval, group.models[0].load) == ((9.0, 11.0), "")
    assert list(pass_intervals(table)) == [{"one": (9.0, 11.0)}]
