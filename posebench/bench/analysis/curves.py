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
_BAND = 400  # draws of the band: its limits are drawn, not read off


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
        band = np.array([_mean_precision(matches, own) for own in weights[:_BAND]])
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


def _mean_precision(matches: Matches, weights: Weights) -> Floats:
    """Return the (P,) precision, a mean over thresholds, with each image so often; nan: nobody."""
    people = int((weights * matches.people).sum())
    if not people:
        return np.full(len(RECALLS), np.nan)
    weight = weights[matches.image]
    running = np.cumsum(weight)
    total = np.zeros(len(RECALLS))
    for correct, wrong in zip(matches.correct, matches.wrong, strict=True):
        ignored = ~correct & ~wrong
        at = np.flatnonzero(correct & (weight > 0))
        true = np.cumsum(weight[at])
        false = running[at] - true
        if ignored.any():
            false = false - np.cumsum(weight * ignored)[at]
        precision = true / (true + false)
        highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        total += highest[np.searchsorted(true / people, RECALLS)]
    return total / len(matches.correct)
