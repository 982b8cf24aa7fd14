"""Tests over images and seeds, and the verdict made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from posebench.bench.comparison import (
    Difference,
    Pair,
    difference,
    holm,
    ordered_pairs,
    sentence,
    verdict,
)
from posebench.metrics.matching import Matches

IMAGES, PEOPLE = 60, 3


def model(skill: float, seed: int) -> Matches:
    """Return detections of which so many are right, at every threshold alike."""
    rng = np.random.default_rng(seed)
    count = IMAGES * PEOPLE
    found = np.broadcast_to(rng.random(count) < skill, (10, count)).copy()
    return Matches(
        rng.random(count), np.repeat(np.arange(IMAGES), PEOPLE), found, ~found,
        np.full(IMAGES, PEOPLE),
    )  # fmt: skip


def test_a_difference_is_the_mean_over_seeds_and_lies_in_its_interval() -> None:
    ours, reference = [model(0.8, 1), model(0.85, 2)], [model(0.4, 3), model(0.5, 4)]
    found = difference(ours, reference, 200)
    assert found.low < found.value < found.high
    assert found.low > 0
    assert found.p_images == pytest.approx(1 / 201)  # none of the exchanges is as extreme
    assert (found.seeds_above, found.seeds) == (2, 2)
    back = difference(reference, ours, 200)
    assert back.value == pytest.approx(-found.value)
    assert back.seeds_above == 0


def test_a_model_is_not_better_than_itself() -> None:
    same = [model(0.6, 1)]
    found = difference(same, same, 100)
    assert found.value == 0
    assert found.p_images == 1
    assert np.isnan(found.p_seeds)


def test_equal_skill_is_seldom_told_apart() -> None:
    p_values = [
        difference([model(0.6, 2 * i)], [model(0.6, 2 * i + 1)], 100).p_images for i in range(40)
    ]
    # Of 40 tests at 5 %, more than seven are wrong once in 700 times.
    assert sum(p < 0.05 for p in p_values) <= 7
    assert np.median(p_values) > 0.2


def test_seeds_that_agree_exactly_are_sure_and_those_that_do_not_are_tested() -> None:
    good, bad = model(0.9, 1), model(0.3, 2)
    assert difference([good, good], [bad, bad], 20).p_seeds == 0
    assert 0 < difference([good, model(0.8, 5)], [bad, model(0.5, 6)], 20).p_seeds < 1


def test_holm_is_stepwise() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def pair(**changes: Any) -> Pair:
    found = Difference(
        value=0.1, low=0.05, high=0.15, p_images=0.001, p_seeds=0.2, seeds_above=3, seeds=3
    )
    return Pair("a", "b", 1.0, replace(found, **changes), p_adjusted=0.01)


def test_an_order_holds_where_images_and_every_seed_agree() -> None:
    assert pair().verdict == "holds"
    assert replace(pair(), p_adjusted=0.06).verdict == "open"
    assert pair(seeds_above=2).verdict == "open"
    assert pair(value=-0.1, seeds_above=0).verdict == "reversed"
    assert pair(value=-0.1, seeds_above=1).verdict == "open"


def test_one_reversed_pair_reverses_the_ordering() -> None:
    good, against = pair(), pair(value=-0.1, seeds_above=0)
    doubtful = replace(good, p_adjusted=0.5)
    assert verdict([good, good]) == "holds"
    assert verdict([good, doubtful]) == "open"
    assert verdict([good, doubtful, against]) == "reversed"
    assert sentence([good, good]).startswith("The paper's ordering holds: 2 of 2")
    assert "a above b" in sentence([good, against])
    assert "no two" in sentence([])


def test_pairs_are_corrected_together_and_share_their_seeds() -> None:
    skills = {"low": 0.2, "middle": 0.5, "high": 0.9}
    models = {name: {0: model(skill, n)} for n, (name, skill) in enumerate(skills.items())}
    models["low"][1] = model(0.2, 9)  # the others have no second seed
    models["none"] = {}
    expected = [
        ("low", "high", 3.0), ("low", "middle", None), ("high", "middle", 1.0), ("none", "low", 1.0)
    ]  # fmt: skip
    found = ordered_pairs(expected, models, 200)
    assert [one.verdict for one in found] == ["holds", "holds", "reversed"]
    assert all(one.p_adjusted == pytest.approx(3 / 201) for one in found)
    assert all(one.difference.seeds == 1 for one in found)
    assert found[0].printed == 3.0
