"""Inner loops of matching and of resampled AP, compiled by numba.

Callers import this module within functions, since importing numba takes half a second.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@numba.njit(cache=True)
def match_best_first(
    similarity: Floats, counted: Flags, crowd: Flags, thresholds: Floats
) -> tuple[Flags, Flags]:
    """Match the detections of one image to its people as COCO does.

    Args:
        similarity: (detections, people) OKS; detections sorted by score, ignored people last.
        counted: (people,) False for people who are ignored.
        crowd: (people,) whether several detections may match this annotation.
        thresholds: (T,) minimum OKS of a match.

    Returns:
        (T, detections) True where a detection matched a person who is not ignored.
        (T, detections) True where a detection matched nobody.
    """
    detections, people = similarity.shape
    correct = np.zeros((len(thresholds), detections), np.bool_)
    wrong = np.ones((len(thresholds), detections), np.bool_)
    for t in range(len(thresholds)):
        taken = np.zeros(people, np.bool_)
        for d in range(detections):
            best, highest = -1, min(thresholds[t], 1 - 1e-10)
            for p in range(people):
                if taken[p] and not crowd[p]:
                    continue
                if best > -1 and counted[best] and not counted[p]:
                    break
                if similarity[d, p] < highest:
                    continue
                best, highest = p, similarity[d, p]
            if best > -1:
                taken[best] = True
                correct[t, d] = counted[best]
                wrong[t, d] = False
    return correct, wrong


@numba.njit(cache=True)
def weighted_ap(
    correct: Flags,
    wrong: Flags,
    image: NDArray[np.int64],
    model: NDArray[np.int64],
    weights: Floats,
    people: Floats,
    recalls: Floats,
) -> Floats:
    """Return the AP of detections for each of R weightings of the images.

    Args:
        correct: (T, D) whether a detection matched a person who is not ignored; sorted by score.
        wrong: (T, D) whether it matched nobody.
        image: (D,) index of the detection's image.
        model: (D,) index of the model that predicted it.
        weights: (R, models, N) weight of a model's detections in each image.
        people: (N,) number of people in each image who are not ignored.
        recalls: recall points, ascending.

    Returns:
        (R,) AP; NaN where the weighted images have no people.
    """
    thresholds, detections = correct.shape
    result = np.empty(len(weights))
    precision = np.empty(detections)
    recall = np.empty(detections)
    for r in range(len(weights)):
        required = 0.0
        for n in range(len(people)):
            required += people[n] * weights[r, :, n].sum()
        if required == 0:
            result[r] = np.nan
            continue
        total = 0.0
        for t in range(thresholds):
            true, false = 0.0, 0.0
            for d in range(detections):
                weight = weights[r, model[d], image[d]]
                true += weight * correct[t, d]
                false += weight * wrong[t, d]
                recall[d] = true / required
                precision[d] = true / (true + false + 2.220446049250313e-16)
            best = 0.0
            d = detections - 1
            for k in range(len(recalls) - 1, -1, -1):
                # The highest precision at this recall or beyond.
                while d >= 0 and recall[d] >= recalls[k]:
                    best = max(best, precision[d])
                    d -= 1
                total += best
        result[r] = total / (thresholds * len(recalls))
    return result
