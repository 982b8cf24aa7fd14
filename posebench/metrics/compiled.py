"""The inner loops of resampled AP, compiled by numba.

Callers import this module within functions, since importing numba takes half a second. The loops
release Python's lock, so that threads share the draws.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int32]
Weights = NDArray[np.int16]

_EPSILON = 2.220446049250313e-16  # what the official tools add to the number of detections


@numba.njit(cache=True, nogil=True)
def weighted_ap(
    source: Places,
    marks: Places,
    events: Places,
    found: NDArray[np.int8],
    starts: NDArray[np.int64],
    weights: Weights,
    people: NDArray[np.int64],
    recalls: Floats,
    ap: Floats,
    by_threshold: Floats,
) -> None:
    """Compute the AP of detections, sorted by score, for each of R weightings of the images.

    Precision is highest where a person has just been found, so of a threshold's detections only
    those that found a person are looked at, and those that are ignored, which do not count as
    wrong. All others are wrong, and one running sum over all detections counts them for all
    thresholds.

    Args:
        source: (D,) where a detection's weight is among those of a draw.
        marks: (J,) the detections that are not wrong at every threshold, ascending.
        events: (E,) indices into `marks` of the detections to look at, ascending, those of the
            first threshold first.
        found: (E,) 1: it found a person who is not ignored; 0: it is ignored.
        starts: (T + 1,) where each threshold's events begin, and E.
        weights: (R, models * N) weight of each model's detections in each image.
        people: (N,) number of people in each image who are not ignored.
        recalls: (K,) recall points, ascending from 0.
        ap: (R,) is set: the mean over thresholds; NaN where the weighted images have no people.
        by_threshold: (R, T) is set, likewise.
    """
    thresholds, points, images = len(starts) - 1, len(recalls), len(people)
    weight = np.empty(len(marks), np.int32)
    running = np.empty(len(marks), np.int32)
    needed = np.empty(points + 1, np.int64)
    best = np.empty(points)
    for r in range(len(weights)):
        own = weights[r]
        required = 0
        for first in range(0, len(own), images):
            for n in range(images):
                required += people[n] * own[first + n]
        if required == 0:
            ap[r] = np.nan
            by_threshold[r] = np.nan
            continue
        _people_needed(required, recalls, needed)
        total, d = 0, 0
        for j in range(len(marks)):
            last = marks[j]
            while d < last:
                total += own[source[d]]
                d += 1
            weight[j] = own[source[last]]
            total += weight[j]
            running[j] = total
            d = last + 1
        area = 0.0
        for t in range(thresholds):
            best[:] = 0.0
            true, ignored, k = 0, 0, 0
            for e in range(starts[t], starts[t + 1]):
                # A weight of 0 changes no count, so it cannot raise the highest precision.
                j = events[e]
                true += weight[j] * found[e]
                ignored += weight[j] * (1 - found[e])
                while true >= needed[k + 1]:
                    k += 1
                precision = true / (running[j] - ignored + _EPSILON)
                best[k] = max(best[k], precision)
            highest, own_area = 0.0, 0.0
            for k in range(points - 1, -1, -1):
                # The highest precision at this recall or beyond.
                highest = max(highest, best[k])
                area += highest
                own_area += highest
            by_threshold[r, t] = own_area / points
        ap[r] = area / (thresholds * points)


@numba.njit(cache=True, nogil=True)
def _people_needed(required: int, recalls: Floats, needed: NDArray[np.int64]) -> None:
    """Set the (K + 1,) fewest people found at which each recall is reached; the last is never."""
    for k in range(len(recalls)):
        count = max(int(recalls[k] * required) - 1, 0)
        while count / required < recalls[k]:
            count += 1
        needed[k] = count
    needed[len(recalls)] = np.iinfo(np.int64).max
