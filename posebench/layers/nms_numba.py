"""The loop of `layers.nms.oks_nms`, compiled by numba.

Imported when it first runs, since importing numba takes long.

Shapes: N people, K keypoints.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from posebench.layers.oks import EPSILON

Floats = NDArray[np.float64]


@numba.njit(cache=True)
def survivors(
    order: NDArray[np.int64],
    keypoints: Floats,
    area: Floats,
    variance: Floats,
    threshold: float,
    limit: int,
) -> NDArray[np.int64]:
    """Return the indices of the people to keep, in the order in which they are visited.

    OKS as in `layers.oks`. It is compared as the sum of its K similarities, and a pair is decided
    as soon as the sum is above the threshold, or could not pass it with all other keypoints alike.

    Args:
        order: (N,) indices, best person first.
        keypoints: (N, K, 2) pixels.
        area: (N,) square pixels.
        variance: (K,), (2 sigma)^2.
        threshold: OKS with a kept person above which a person is suppressed.
        limit: how many to keep at most.
    """
    people, count_keypoints, _ = keypoints.shape
    kept = np.empty(min(people, limit), np.int64)
    count = 0
    needed = threshold * count_keypoints
    for one in order:
        if count == limit:
            break
        alone = True
        for other in kept[:count]:
            pair_area = (area[one] + area[other]) / 2 + EPSILON
            total = 0.0
            for k in range(count_keypoints):
                dx = keypoints[one, k, 0] - keypoints[other, k, 0]
                dy = keypoints[one, k, 1] - keypoints[other, k, 1]
                exponent = (dx * dx + dy * dy) / (variance[k] * pair_area) / 2
                if exponent < 40:  # beyond, the similarity is lost in the sum's last digit
                    total += np.exp(-exponent)
                if total > needed or total + (count_keypoints - 1 - k) <= needed:
                    break
            if total > needed:
                alone = False
                break
        if alone:
            kept[count] = one
            count += 1
    return kept[:count]
