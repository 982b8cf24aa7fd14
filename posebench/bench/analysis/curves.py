"""Precision and recall at the ten thresholds, with the score that reaches each recall.

Shapes: D detections, T OKS thresholds, P recall points, R resamples, I images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posebench.bench.analysis.scene import Outcome
from posebench.bench.analysis.values import PrecisionRecall
from posebench.bench.statistics import CONFIDENCE
from posebench.metrics.matching import Floats, Matches

Weights = NDArray[np.int16]

RECALLS = np.linspace(0.0, 1.0, 101)


def precision_recall(outcome: Outcome, weights: Weights) -> PrecisionRecall:
    """Return the curves of a file.

    Args:
        outcome: of all ten thresholds.
        weights: (R, I) how often each image counts in each resample.
    """
    matches = outcome.matches()
    curves = matches.curves()
    low = high = np.full(len(RECALLS), np.nan)
    if len(weights) and matches.people.any():
        band_of = _Band(matches)
        band = np.array([band_of.mean_precision(own) for own in weights])
        tail = (1 - CONFIDENCE) / 2
        low, high = np.nanquantile(band, [tail, 1 - tail], axis=0)
    return PrecisionRecall(
        recall=RECALLS,
        precision=curves.precision,
        score=_scores(matches),
        mean=curves.precision.mean(0),
        low=low,
        high=high,
    )


def _scores(matches: Matches) -> Floats:
    """Return the (T, P) score of the first detection that reaches each recall, else 0."""
    people = int(matches.people.sum())
    scores = np.full((len(matches.correct), len(RECALLS)), -1.0 if not people else 0.0)
    if not people or not len(matches.scores):
        return scores
    for row, right in enumerate(matches.correct):
        at = np.flatnonzero(right)
        place = np.searchsorted(np.arange(1, len(at) + 1) / people, RECALLS)
        reached = place < len(at)
        scores[row, reached] = matches.scores[at[place[reached]]]
        scores[row, 0] = matches.scores[0]  # the first detection has a recall of at least 0
    return scores


class _Band:
    """The mean curve of resamples; what they share is found once."""

    def __init__(self, matches: Matches) -> None:
        self._image, self._people = matches.image, matches.people
        self._true = [np.flatnonzero(right) for right in matches.correct]
        ignored = ~matches.correct & ~matches.wrong
        self._ignored = [np.flatnonzero(row) for row in ignored]

    def mean_precision(self, weights: Weights) -> Floats:
        """Return the (P,) precision, a mean over thresholds, with each image so often."""
        people = int((weights * self._people).sum())
        if not people:
            return np.full(len(RECALLS), np.nan)
        weight = weights.astype(np.int32)[self._image]
        running = np.cumsum(weight)
        total = np.zeros(len(RECALLS))
        for at, ignored in zip(self._true, self._ignored, strict=True):
            true = np.cumsum(weight[at])
            shown = running[at]
            if len(ignored):
                before = np.append(0, np.cumsum(weight[ignored]))
                shown = shown - before[np.searchsorted(ignored, at)]
            precision = true / np.maximum(shown, 1)
            highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
            total += highest[np.searchsorted(true / people, RECALLS)]
        return total / len(self._true)
