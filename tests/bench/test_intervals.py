"""The interval that an evaluation's AP has, and the metrics that have none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from posebench.bench.intervals import interval_of, limits_of
from posebench.bench.statistics import ap_interval
from posebench.data.limited import FirstImages
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import Evaluation, evaluate_file, evaluate_ideal
from posebench.metrics.resampling import matches
from posebench.models import RECIPES
from posebench.skeleton import COCO

CROWDS = SyntheticCrowds(COCO, "val", length=6, size=64, crowd=0.5)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate_ideal(RECIPES["cid_tiny"], CROWDS)


def test_it_is_that_of_the_statistics_whether_results_lie_in_a_file_or_not(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    found = interval_of(evaluation, CROWDS)
    assert found is not None and found.low < found.value < found.high
    truth = CROWDS.ground_truth()
    expected = ap_interval(matches(truth, evaluation.results, CROWDS.protocol))
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert found.value == pytest.approx(evaluation.metrics["AP"], abs=1e-12)
    assert limits_of(found) == {"AP": (found.low, found.high)}
    (tmp_path / "results.json").write_text(json.dumps(evaluation.results))
    assert interval_of(evaluate_file(tmp_path / "results.json", CROWDS), CROWDS) == found


def test_what_has_none(evaluation: Evaluation) -> None:
    assert interval_of(replace(evaluation, metrics={"PCKh@0.5": 0.5}), CROWDS) is None
    assert interval_of(replace(evaluation, metrics={"AP": -1.0}), CROWDS) is None
    assert interval_of(replace(evaluation, metrics={}), CROWDS) is None
    assert interval_of(evaluation, FirstImages(CROWDS, 1)) is None
    # An AP by other rules than those of the matching.
    assert interval_of(replace(evaluation, metrics={"AP": 0.123}), CROWDS) is None
    assert limits_of(None) == {}


def test_of_several_categories_it_is_of_all_as_one(evaluation: Evaluation) -> None:
    merged = {"AP": 0.1, "AP (merged)": evaluation.metrics["AP"]}
    found = interval_of(replace(evaluation, metrics=merged), CROWDS)
    assert found is not None and found.name == "AP (merged)"
