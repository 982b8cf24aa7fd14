"""Ratios, their intervals and ranks, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from posebench.bench.intervals import quantile, ranking, ratio


def test_quantiles_lie_between_the_two_nearest() -> None:
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile([1, 2], 0.9) == pytest.approx(1.9)


def test_a_ratio_is_of_the_rounds_that_both_had() -> None:
    found = ratio({0: 2.0, 1: 8.0, 2: 100.0}, {0: 1.0, 1: 1.0, 7: 3.0})
    assert found is not None
    assert found.value == pytest.approx(4)  # of 2 and 8
    # Student's t of one degree of freedom at 97.5 %, by the standard error of two logarithms.
    reach = 12.7062 * (math.log(8) - math.log(2)) / 2
    assert found.low == pytest.approx(4 / math.exp(reach), rel=1e-4)
    assert found.high == pytest.approx(4 * math.exp(reach), rel=1e-4)
    assert not found.tells


def test_what_slows_both_leaves_the_ratio_sure() -> None:
    weather = [1.0, 3.0, 1.5, 7.0]
    found = ratio(
        {i: 2.0 * w for i, w in enumerate(weather)}, {i: 1.0 * w for i, w in enumerate(weather)}
    )
    assert found is not None
    assert found.low == pytest.approx(2) == found.high
    assert found.tells


def test_one_round_tells_nothing_and_none_has_no_ratio() -> None:
    found = ratio({0: 2.0}, {0: 1.0})
    assert found is not None
    assert (found.value, found.low) == (2, 0)
    assert found.high > 1e100
    assert ratio({0: 2.0}, {1: 1.0}) is None


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        noise = rng.normal(0, 0.1, (2, 5))
        ours = {i: 2 * math.exp(n) for i, n in enumerate(noise[0])}
        found = ratio(ours, {i: math.exp(n) for i, n in enumerate(noise[1])})
        assert found is not None
        held += found.low <= 2 <= found.high
    assert 0.92 < held / 400 < 0.98


def test_models_that_cannot_be_told_apart_share_a_rank() -> None:
    rounds = {
        "slow": {0: 2.0, 1: 2.1, 2: 2.0},
        "one": {0: 1.0, 1: 1.1, 2: 1.0},
        "other": {0: 1.05, 1: 1.0, 2: 1.04},
    }
    assert ranking(rounds) == {"one": 1, "other": 1, "slow": 3}


def test_models_that_never_met_are_ranked_by_their_medians() -> None:
    assert ranking({"b": {5: 2.0, 6: 2.0}, "a": {0: 1.0, 1: 1.0}}) == {"a": 1, "b": 2}
