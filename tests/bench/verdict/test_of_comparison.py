"""The sentences on a comparison: who is better, by how much and why, or that nobody can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from posebench.bench.analysis import Analysis, analyze
from posebench.bench.comparison import (
    Comparison,
    ErrorDifference,
    GroupDifference,
    GroupScore,
    ModelScores,
    PairDifference,
    compare,
)
from posebench.bench.statistics import Interval
from posebench.bench.verdict import ERRORS, comparison_sentences
from posebench.data import LAYOUTS
from tests.planted import planted, planted_truth

AP = Interval(0.541, 0.523, 0.562)
PAIR = PairDifference("B", "A", Interval(0.008, 0.003, 0.013), 0.001, 0.001, 0.011)
NEITHER = replace(PAIR, difference=Interval(0.003, -0.004, 0.01), p=0.4, p_adjusted=0.41)


def made(
    *,
    pairs: Sequence[PairDifference] = (PAIR,),
    errors: Sequence[tuple[str, Interval]] = (),
    groups: Sequence[tuple[str, str, Interval, int]] = (),
    names: Sequence[str] = ("B", "A"),
) -> Comparison:
    """Return a comparison; groups are by, group, difference and number of people."""
    return Comparison(
        models=tuple(ModelScores(name, {"AP": AP}, "a") for name in names),
        pairs=tuple(pairs),
        groups=tuple(
            GroupScore(name, by, group, people, 20, AP)
            for name in names
            for by, group, _, people in groups
        ),
        group_differences=tuple(
            GroupDifference("B", "A", by, group, value, float("nan"))
            for by, group, value, _ in groups
        ),
        images=(),
        errors=tuple(ErrorDifference("B", "A", kind, value) for kind, value in errors),
        analyses={},
        reference="B",
        draws=2000,
        seed=0,
        num_images=5000,
        num_people=10000,
    )


def first(comparison: Comparison) -> str:
    return comparison_sentences(comparison)[0]


def test_the_better_model_with_its_evidence() -> None:
    assert first(made()) == (
        "B is better than A by 0.8 AP (95 %: 0.3 to 1.3, p .001, 5,000 images)."
    )


def test_what_makes_most_of_it() -> None:
    errors = [
        ("jitter", Interval(0.001, 0.0005, 0.002)),
        ("swap", Interval(0.005, 0.002, 0.008)),
        ("missed", Interval(0.02, -0.001, 0.04)),  # more, but it may be chance
        ("localisation", Interval(0.03, 0.02, 0.04)),  # what the others make
    ]
    assert first(made(errors=errors)).endswith("5,000 images); most of it is fewer swaps (0.5).")


def test_a_small_part_is_not_called_most() -> None:
    small = [("swap", Interval(0.003, 0.001, 0.005))]
    assert "; its largest part is fewer swaps (0.3)." in first(made(errors=small))
    unsure = [("swap", Interval(0.006, -0.001, 0.012))]
    assert "no single kind of error is sure to make it." in first(made(errors=unsure))


def test_where_it_is_largest() -> None:
    groups = [
        ("crowding", "5–8 people", Interval(0.021, 0.01, 0.03), 900),
        ("size", "0–32 px", Interval(0.05, 0.01, 0.09), 12),  # too few people
        ("overlap", "0", Interval(0.03, -0.01, 0.07), 900),  # may be chance
        ("labelled", "1–5", Interval(0.009, 0.004, 0.014), 900),  # hardly more than overall
        ("keypoint", "nose", Interval(0.05, 0.04, 0.06), 900),  # of another measure
    ]
    assert first(made(groups=groups)).endswith("; it is largest in images with 5–8 people (2.1).")


def test_where_the_other_model_is_ahead_is_not_hidden() -> None:
    said = comparison_sentences(
        made(
            errors=[("jitter", Interval(-0.004, -0.006, -0.002))],
            groups=[("size", "0–32 px", Interval(-0.006, -0.009, -0.002), 300)],
        )
    )
    assert "A has less jitter (0.4) and is better for people of 0–32 px (by 0.6 AP)." in said


def test_models_that_cannot_be_told_apart() -> None:
    said = comparison_sentences(
        made(pairs=[NEITHER], errors=[("swap", Interval(0.005, 0.002, 0.008))])
    )
    assert said[0] == (
        "B and A cannot be told apart: the difference is 0.3 AP (95 %: −0.4 to 1.0, p .410, 5,000 "
        "images), and these images could have shown one of 1.1 AP."
    )
    assert said[1] == "B has fewer swaps (0.5)."


def test_several_models() -> None:
    pairs = [PAIR, replace(NEITHER, worse="C"), replace(PAIR, better="C")]
    comparison = made(pairs=pairs, names=["B", "C", "A"])
    said = comparison_sentences(comparison)
    assert said[0] == (
        "Of 3 models B has the highest AP, 54.1 (95 %: 52.3 to 56.2), but cannot be told apart "
        "from C (5,000 images)."
    )
    assert said[1].startswith("B and C cannot be told apart")
    assert said[2].startswith("B is better than A by 0.8 AP")
    sure = made(pairs=[PAIR, replace(PAIR, worse="C")], names=["B", "C", "A"])
    assert "and is better than every other (5,000 images)." in first(sure)


def test_several_models_beside_a_reference() -> None:
    pairs = [PAIR, replace(PAIR, worse="C"), replace(NEITHER, better="C", worse="A")]
    comparison = replace(made(pairs=pairs, names=["B", "C", "A"]), reference="A")
    said = comparison_sentences(comparison)
    assert said[0].startswith("Of 3 models B has the highest AP")
    assert [sentence.partition(" by ")[0].partition(":")[0] for sentence in said[1:]] == [
        "B is better than A", "C and A cannot be told apart",
    ]  # fmt: skip


def test_images_without_people() -> None:
    empty = replace(made(), num_people=0)
    assert comparison_sentences(empty) == [
        "Nobody is annotated in these images, so there is nothing to compare."
    ]


TRUTH = planted_truth(24)
PROTOCOL = LAYOUTS["coco"].protocol
BOTH = {"tail": 0.6, "jitter": 0.05}  # errors of either file
RATES = {"duplicate": 0.5, "background": 0.5, "score": 0.5}  # of others 0.3


@pytest.mark.parametrize(
    "kind",
    ["jitter", "miss", "inversion", "swap", "score", "duplicate", "background", "missed"],
)
def test_the_first_sentence_names_the_kind_that_was_planted(kind: str) -> None:
    files = {
        "good": planted(TRUTH, BOTH),
        "bad": planted(TRUTH, BOTH | {kind: RATES.get(kind, 0.3)}),
    }
    analyses: dict[str, Analysis] = {
        name: analyze(own, TRUTH, PROTOCOL, draws=200) for name, own in files.items()
    }
    comparison = compare(files, TRUTH, PROTOCOL, draws=200, groups=False, errors=analyses)
    said = first(comparison)
    assert said.startswith("good is better than bad by ")
    assert f"most of it is {ERRORS[kind].fewer} (" in said


def test_the_same_file_twice_cannot_be_told_apart() -> None:
    same = planted(TRUTH, {"swap": 0.2})
    comparison = compare({"A": same, "B": same}, TRUTH, PROTOCOL, draws=200, groups=False)
    said = first(comparison)
    assert "cannot be told apart: the difference is 0.0 AP" in said and "could have" not in said
