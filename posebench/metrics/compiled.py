"""The inner loop of resampled AP, compiled by numba.

Callers import this module within functions, since importing numba takes half a second.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@numba.njit(cache=True)
def weighted_ap(
    positions: NDArray[np.int64],
    found: Flags,
    starts: NDArray[np.int64],
    image: NDArray[np.int64],
    model: NDArray[np.int64],
    weights: Floats,
    people: Floats,
    recalls: Floats,
) -> Floats:
    """Return the AP of detections, sorted by score, for each of R weightings of the images.

    Precision is highest where a person has just been found, so of a threshold's detections only
    those that found a person are looked at, and those that are ignored, which do not count as
    wrong. All others are wrong, and one running sum over all detections counts them for all
    thresholds.

    Args:
        positions: (P,) the detections to look at, ascending, those of the first threshold first.
        found: (P,) True: it found a person who is not ignored; False: it is ignored.
        starts: (T + 1,) where each threshold's positions begin, and P.
        image: (D,) index of the detection's image.
        model: (D,) index of the model that predicted it.
        weights: (R, models, N) weight of a model's detections in each image.
        people: (N,) number of people in each image who are not ignored.
        recalls: recall points, ascending.

    Returns:
        (R,) AP; NaN where the weighted images have no people.
    """
    thresholds = len(starts) - 1
    result = np.empty(len(weights))
    weight = np.empty(len(image))
    running = np.empty(len(image))
    precision = np.empty(len(image))
    recall = np.empty(len(image))
    for r in range(len(weights)):
        required = 0.0
        for n in range(len(people)):
            required += people[n] * weights[r, :, n].sum()
        if required == 0:
            result[r] = np.nan
            continue
        total = 0.0
        for d in range(len(image)):
            weight[d] = weights[r, model[d], image[d]]
            total += weight[d]
            running[d] = total
        area = 0.0
        for t in range(thresholds):
            true, ignored, count = 0.0, 0.0, 0
            for p in range(starts[t], starts[t + 1]):
                d = positions[p]
                if not found[p]:
                    ignored += weight[d]
                elif weight[d] > 0:
                    true += weight[d]
                    recall[count] = true / required
                    precision[count] = true / (running[d] - ignored + 2.220446049250313e-16)
                    count += 1
            best = 0.0
            last = count - 1
            for k in range(len(recalls) - 1, -1, -1):
                # The highest precision at this recall or beyond.
                while last >= 0 and recall[last] >= recalls[k]:
                    best = max(best, precision[last])
                    last -= 1
                area += best
        result[r] = area / (thresholds * len(recalls))
    return result
