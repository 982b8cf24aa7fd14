"""Several models compared on the same images."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posebench.bench.comparison import compare, letter_groups
from posebench.bench.statistics import ap_interval, difference
from tests.bench.matches import make_matches


def test_models_are_listed_from_the_best_with_their_intervals() -> None:
    models = {"weak": make_matches(0.3, 1), "strong": make_matches(0.9, 2)}
    strong, weak = compare(models, 200)
    assert (strong.name, weak.name) == ("strong", "weak")
    assert strong.ap == ap_interval(models["strong"], 200)
    assert strong.ap.low < strong.ap.value < strong.ap.high
    assert (strong.behind.value, strong.p) == (0, 1)
    assert (strong.letters, weak.letters) == ("a", "b")


def test_one_pair_is_compared_as_two_variants_of_an_ablation_are() -> None:
    ours, theirs = make_matches(0.7, 1), make_matches(0.55, 2)
    [_, found] = compare({"ours": ours, "theirs": theirs}, 300)
    pair = difference([ours], [theirs], 300)
    assert (found.behind.value, found.behind.low, found.behind.high, found.p) == pytest.approx(
        (pair.value, pair.low, pair.high, pair.p_images)
    )


def test_p_values_are_adjusted_for_all_pairs() -> None:
    models = {f"model {i}": make_matches(0.6 + 0.04 * i, i) for i in range(4)}
    best, *others = compare(models, 200)
    for one in others:
        alone = difference([models[best.name]], [models[one.name]], 200).p_images
        assert alone <= one.p <= min(1, 6 * alone)


def test_scores_need_not_be_on_one_scale() -> None:
    models = {"ours": make_matches(0.75, 1), "theirs": make_matches(0.6, 2)}
    expected = compare(models, 200)
    for change in (lambda s: 100 * s, lambda s: s**3 / 4):
        scaled = replace(models["theirs"], scores=change(models["theirs"].scores))
        found = compare({**models, "theirs": scaled}, 200)
        assert [one.p for one in found] == [one.p for one in expected]
        assert found == expected


def test_a_model_alone_is_the_best() -> None:
    [alone] = compare({"alone": make_matches(0.5, 1)}, 50)
    assert (alone.letters, alone.p) == ("a", 1)


NAMES = "ABCDE"


@given(st.sets(st.sampled_from(list(combinations(NAMES, 2)))))
def test_models_share_a_letter_exactly_if_they_do_not_differ(
    different: set[tuple[str, str]],
) -> None:
    letters = letter_groups(NAMES, different)
    assert letters["A"].startswith("a")
    for pair in combinations(NAMES, 2):
        first, second = (set(letters[name]) for name in pair)
        assert first.isdisjoint(second) == (pair in different)


def test_letters_of_a_chain() -> None:
    assert letter_groups("ABC", {("A", "C")}) == {"A": "a", "B": "ab", "C": "b"}


def test_empty_predictions_are_the_worst() -> None:
    nothing = replace(
        make_matches(0.5, 1),
        scores=np.zeros(0), image=np.zeros(0, np.int64),
        correct=np.zeros((10, 0), bool), wrong=np.zeros((10, 0), bool),
    )  # fmt: skip
    some, none = compare({"none": nothing, "some": make_matches(0.5, 2)}, 50)
    assert (some.name, none.name) == ("some", "none")
    assert none.ap.value == 0
    assert none.letters == "b"
