"""Precision, recall and F1 by the least score, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from posebench.metrics.matching import THRESHOLDS, Matches
from posebench.metrics.resampling import matches
from posebench.metrics.thresholds import f1_curve
from posebench.skeleton import COCO
from tests.builders import PROTOCOLS, truth_of
from tests.metrics.cases import random_case


def five(people: int = 4) -> Matches:
    """Return detections that are right at OKS 0.5: yes, yes, no, ignored, yes; at 0.95 never."""
    correct = np.zeros((len(THRESHOLDS), 5), np.bool_)
    wrong = ~correct
    correct[0] = [True, True, False, False, True]
    wrong[0] = [False, False, True, False, False]
    # Scores of another order, so that they have to be sorted.
    order = [3, 0, 4, 2, 1]
    scores = np.array([0.9, 0.7, 0.5, 0.4, 0.1])
    return Matches(
        scores[order], np.zeros(5, np.int64), correct[:, order], wrong[:, order],
        np.array([people, 0]),
    )  # fmt: skip


def test_precision_recall_and_f1_are_counted_at_every_threshold() -> None:
    curve = f1_curve(five())
    assert curve.scores == pytest.approx([0.8, 0.6, 0.45, 0.25, 0.05])
    assert curve.precision == pytest.approx([1, 1, 2 / 3, 2 / 3, 3 / 4])
    assert curve.recall == pytest.approx([1 / 4, 1 / 2, 1 / 2, 1 / 2, 3 / 4])
    assert curve.f1 == pytest.approx([2 / 5, 2 / 3, 4 / 7, 4 / 7, 3 / 4])
    assert curve.scores[curve.best] == pytest.approx(0.05)
    assert curve.within(0.09) == pytest.approx((0.05, 0.6))


def test_fewer_people_make_the_higher_threshold_the_best() -> None:
    # Of two people both are found by the best two detections; F1 is 1 there.
    curve = f1_curve(five(people=2))
    assert curve.f1[curve.best] == 1
    assert curve.scores[curve.best] == pytest.approx(0.6)


def test_equal_scores_are_kept_together() -> None:
    tied = five()
    tied.scores[:] = 0.5
    curve = f1_curve(tied)
    assert curve.scores == pytest.approx([0.25])
    assert curve.precision == pytest.approx([3 / 4])


def test_a_higher_oks_has_matches_of_its_own() -> None:
    assert f1_curve(five(), oks=0.95).f1 == pytest.approx([0] * 5)
    with pytest.raises(ValueError, match=r"an OKS of 0\.52"):
        f1_curve(five(), oks=0.52)
    with pytest.raises(ValueError, match="0 people"):
        f1_curve(five(people=0))


def test_all_detections_have_the_recall_of_the_evaluation() -> None:
    truth, results = random_case(COCO, 0)
    found = matches(truth_of(truth), results, PROTOCOLS["ochuman"])
    curve = f1_curve(found)
    assert curve.recall[-1] == pytest.approx(found.correct[0].sum() / found.people.sum())
    assert curve.recall[-1] > 0.1
    assert (np.diff(curve.recall) >= 0).all()
