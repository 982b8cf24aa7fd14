"""DEKR's suppression of poses of one person, compiled by numba.

Imported when it first runs, since importing numba takes long.

Shapes: N candidates, K keypoints.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@numba.njit(cache=True)
def kept(
    poses: Floats, heat_scores: Floats, distance_factor: float, joint_count: int
) -> NDArray[np.int64]:
    """Return the indices of the candidates to keep, in the order in which they are kept.

    Candidates are visited in their order. Of all that are near one, removed ones too, the one with
    the highest heat score is kept and the whole group removed; if it was removed before, nothing
    happens. A candidate j is near i if more than `joint_count` keypoints are closer than
    `distance_factor` times the diagonal of i's extent, so nearness is not symmetric.

    Args:
        poses: (N, K, 2).
        heat_scores: (N,).
        distance_factor: see above.
        joint_count: see above.

    Source: the published code, which stops at a pose whose keypoints all coincide: it has no
    extent, and so is not near itself. Here every pose is near itself.
    """
    count, keypoints, _ = poses.shape
    order = np.empty(count, np.int64)
    removed = np.zeros(count, np.bool_)
    near = np.empty(count, np.bool_)
    number = 0
    for one in range(count):
        if removed[one]:
            continue
        width = poses[one, :, 0].max() - poses[one, :, 0].min()
        height = poses[one, :, 1].max() - poses[one, :, 1].min()
        limit = (width * width + height * height) * distance_factor * distance_factor
        best = -1
        for other in range(count):
            close = 0
            for k in range(keypoints):
                dx = poses[one, k, 0] - poses[other, k, 0]
                dy = poses[one, k, 1] - poses[other, k, 1]
                close += dx * dx + dy * dy < limit
            near[other] = close > joint_count or other == one
            if near[other] and (best < 0 or heat_scores[other] > heat_scores[best]):
                best = other
        if removed[best]:
            continue
        order[number] = best
        number += 1
        removed |= near
    return order[:number]
