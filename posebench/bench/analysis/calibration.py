"""What scores say about the quality of poses.

Shapes: D detections, B bins.
"""

from __future__ import annotations

import numpy as np

from posebench.bench.analysis.scene import Outcome
from posebench.bench.analysis.values import BestThreshold, Calibration
from posebench.metrics.matching import THRESHOLDS, Floats, Indices

BINS = 10


def calibration(outcome: Outcome, best_oks: Floats) -> Calibration:
    """Return the reliability of scores, and the scores to cut at.

    Args:
        outcome: of all ten thresholds.
        best_oks: (D,) highest OKS with a person who counts.
    """
    places = [_threshold(0.5), _threshold(0.75)]
    judged = np.flatnonzero(outcome.wrong[places[0]] | outcome.correct[places[0]])
    scores, oks = outcome.scores[judged], best_oks[judged]
    right = outcome.correct[places][:, judged]
    number = bins_of(scores)
    count = np.bincount(number)
    columns = [scores, oks, *right.astype(np.float64)]
    mean_score, mean_oks, true_50, true_75 = (
        np.bincount(number, column) / count for column in columns
    )
    order = np.argsort(scores, kind="stable")
    starts = np.cumsum(count) - count
    image = outcome.scene.detections.image[judged]
    in_range = len(scores) > 0 and bool(scores.min() >= 0 and scores.max() <= 1)
    return Calibration(
        low=scores[order][starts],
        high=scores[order][starts + count - 1],
        score=mean_score,
        oks=mean_oks,
        true_50=true_50,
        true_75=true_75,
        count=count,
        expected_error=_expected_error(scores, oks) if in_range else float("nan"),
        expected_error_fitted=_expected_error(_fitted(scores, oks, image), oks),
        best=tuple(_best(outcome, place) for place in places),
    )


def bins_of(scores: Floats) -> Indices:
    """Return the (D,) bin of each score: about equally many in each, equal scores together."""
    if not len(scores):
        return np.empty(0, np.int64)
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1]))
    number = np.searchsorted(edges, scores, side="left")
    return np.unique(number, return_inverse=True)[1]


def _threshold(oks: float) -> int:
    return int(np.isclose(THRESHOLDS, oks).argmax())


def _expected_error(scores: Floats, oks: Floats) -> float:
    """Return the mean distance of a bin's mean score from its mean OKS, weighted by its size."""
    if not len(scores):
        return float("nan")
    number = bins_of(scores)
    distance = np.bincount(number, scores) - np.bincount(number, oks)
    return float(np.abs(distance).sum() / len(scores))


def _fitted(scores: Floats, oks: Floats, image: Indices) -> Floats:
    """Return scores mapped to OKS by a rising function that was fitted on the other images."""
    from scipy.optimize import isotonic_regression

    mapped = np.full(len(scores), oks.mean() if len(oks) else np.nan)
    half = image % 2 == 1
    for own in (half, ~half):
        if own.all() or not own.any():
            continue
        # One value for each score, however its detections are ordered.
        known, place, count = np.unique(scores[~own], return_inverse=True, return_counts=True)
        level = isotonic_regression(np.bincount(place, oks[~own]) / count, weights=count).x
        mapped[own] = np.interp(scores[own], known, level)
    return mapped


def _best(outcome: Outcome, place: int) -> BestThreshold:
    """Return the score that gives the highest F1; of equal ones the highest score."""
    order = outcome.order
    correct, wrong = outcome.correct[place][order], outcome.wrong[place][order]
    people = int(outcome.counted.sum())
    oks = float(THRESHOLDS[place])
    true, shown = np.cumsum(correct), np.cumsum(correct | wrong)
    scores = outcome.scores[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])
    if not len(last) or not people:
        return BestThreshold(oks, float("nan"), 0.0, 0.0, 0.0)
    f1 = 2 * true[last] / np.maximum(shown[last] + people, 1)
    best = int(last[f1.argmax()])
    return BestThreshold(
        oks=oks,
        score=float(scores[best]),
        f1=float(f1.max()),
        precision=float(true[best] / max(shown[best], 1)),
        recall=float(true[best] / people),
    )
