"""Ratios, intervals, ranks and tests, against values worked out by hand or simulated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from posebench.bench.statistics import (
    benjamini_hochberg,
    difference,
    holm,
    quantile,
    ranking,
    ratio,
)
from posebench.metrics.matching import Floats
from tests.bench.matches import make_matches


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
    assert not found.excludes(1)


def test_what_slows_both_leaves_the_ratio_sure() -> None:
    weather = [1.0, 3.0, 1.5, 7.0]
    found = ratio(
        {i: 2.0 * w for i, w in enumerate(weather)}, {i: 1.0 * w for i, w in enumerate(weather)}
    )
    assert found is not None
    assert found.low == pytest.approx(2) == found.high
    assert found.excludes(1)


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


def test_a_difference_is_the_mean_over_seeds_and_lies_in_its_interval() -> None:
    ours, reference = (
        [make_matches(0.8, 1), make_matches(0.85, 2)],
        [make_matches(0.4, 3), make_matches(0.5, 4)],
    )
    found = difference(ours, reference, 200)
    assert found.low < found.value < found.high
    assert found.low > 0
    assert found.p_images == pytest.approx(1 / 201)  # none of the exchanges is as extreme
    assert (found.seeds_above, found.seeds) == (2, 2)
    back = difference(reference, ours, 200)
    assert back.value == pytest.approx(-found.value)
    assert back.seeds_above == 0


def test_a_model_is_not_better_than_itself() -> None:
    same = [make_matches(0.6, 1)]
    found = difference(same, same, 100)
    assert found.value == 0
    assert found.p_images == 1
    assert np.isnan(found.p_seeds)


@pytest.mark.parametrize("change", [lambda s: 100 * s, lambda s: s**3 / 4], ids=["100", "cubed"])
def test_the_scale_of_scores_does_not_matter(change: Callable[[Floats], Floats]) -> None:
    ours, reference = make_matches(0.7, 1), make_matches(0.55, 2)
    scaled = replace(ours, scores=change(ours.scores))
    found = difference([scaled, ours], [reference, reference], 200)
    assert found == difference([ours, ours], [reference, reference], 200)


def test_detections_that_are_worse_than_all_others_do_not_matter() -> None:
    ours, reference = make_matches(0.64, 1), make_matches(0.55, 2)
    image = np.repeat(np.arange(len(ours.people)), 17)
    nothing = np.zeros((len(ours.correct), len(image)), bool)
    filled = replace(
        ours,
        scores=np.concatenate([ours.scores, np.full(len(image), -1.0)]),
        image=np.concatenate([ours.image, image]),
        correct=np.concatenate([ours.correct, nothing], axis=1),
        wrong=np.concatenate([ours.wrong, ~nothing], axis=1),
    )
    found = difference([filled], [reference], 200)
    assert found.p_images == difference([ours], [reference], 200).p_images


def test_equal_skill_is_seldom_told_apart() -> None:
    p_values = [
        difference([make_matches(0.6, 2 * i)], [make_matches(0.6, 2 * i + 1)], 100).p_images
        for i in range(40)
    ]
    # Of 40 tests at 5 %, more than seven are wrong once in 700 times.
    assert sum(p < 0.05 for p in p_values) <= 7
    assert np.median(p_values) > 0.2


def test_seeds_that_agree_exactly_are_sure_and_those_that_do_not_are_tested() -> None:
    good, bad = make_matches(0.9, 1), make_matches(0.3, 2)
    assert difference([good, good], [bad, bad], 20).p_seeds == 0
    assert 0 < difference([good, make_matches(0.8, 5)], [bad, make_matches(0.5, 6)], 20).p_seeds < 1


def test_holm_is_stepwise() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_benjamini_hochberg_is_stepwise_from_the_largest() -> None:
    assert benjamini_hochberg([0.04, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
    assert benjamini_hochberg([0.9, 0.2]) == pytest.approx([0.9, 0.4])
    assert benjamini_hochberg([]) == []
