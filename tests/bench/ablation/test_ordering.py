"""Tests over images and seeds, and the verdict made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from posebench.bench.ablation.ordering import Pair, conclusion, ordered_pairs, overall_verdict
from posebench.bench.statistics import Difference
from tests.bench.matches import make_matches


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
    assert overall_verdict([good, good]) == "holds"
    assert overall_verdict([good, doubtful]) == "open"
    assert overall_verdict([good, doubtful, against]) == "reversed"
    assert conclusion([good, good]).startswith("The paper's ordering holds: of 2 pairs 2 ")
    assert "a above b" in conclusion([good, against])
    assert "does not order" in conclusion([])


def test_pairs_are_corrected_together_and_share_their_seeds() -> None:
    skills = {"low": 0.2, "middle": 0.5, "high": 0.9}
    models = {name: {0: make_matches(skill, n)} for n, (name, skill) in enumerate(skills.items())}
    models["low"][1] = make_matches(0.2, 9)  # the others have no second seed
    models["none"] = {}
    expected = [
        ("low", "high", 3.0), ("low", "middle", None), ("high", "middle", 1.0), ("none", "low", 1.0)
    ]  # fmt: skip
    found = ordered_pairs(expected, models, 200)
    assert [one.verdict for one in found] == ["holds", "holds", "reversed"]
    assert all(one.p_adjusted == pytest.approx(3 / 201) for one in found)
    assert all(one.difference.seeds == 1 for one in found)
    assert found[0].printed == 3.0
