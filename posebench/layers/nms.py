"""Suppression of people found twice.

Who goes depends on who stays, so the work is a loop. Here it is compiled, looks at a pair only as
long as its outcome is open, and runs on the CPU wherever the poses are: they are few numbers, and
copying them costs less than a kernel for every survivor.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import nms

from posebench.layers.oks import EPSILON

Floats = NDArray[np.float64]


def oks_nms(
    keypoints: Tensor,
    scores: Tensor,
    sigmas: Tensor,
    threshold: float,
    *,
    area: Tensor | None = None,
    limit: int | None = None,
) -> Tensor:
    """Return the indices of the people to keep, best first.

    A person goes whose OKS with a better one that stays is above the threshold; a pair's area is
    the mean of both.

    Args:
        keypoints: (N, K, 2); every keypoint counts, whatever its score.
        scores: (N,); of equal ones the first is better.
        sigmas: (K,).
        threshold: OKS.
        area: (N,) square pixels; None: `pose_area`.
        limit: how many to keep at most; None: all.
    """
    if area is None:
        area = pose_area(keypoints)
    kept = _survivors(
        torch.argsort(scores, descending=True, stable=True).cpu().numpy(),
        keypoints.detach().cpu().double().numpy(),
        area.detach().cpu().double().numpy(),
        (2 * sigmas.cpu().double().numpy()) ** 2,
        threshold,
        len(keypoints) if limit is None else limit,
    )
    return torch.from_numpy(kept).to(keypoints.device)


def box_nms(
    keypoints: Tensor, scores: Tensor, threshold: float, *, limit: int | None = None
) -> Tensor:
    """Return the indices of the people to keep, best first, by the overlap of their boxes.

    Args:
        keypoints: (N, K, 2); a person's box is their extent.
        scores: (N,).
        threshold: intersection over union with a better person above which a person goes.
        limit: how many to keep at most; None: all.
    """
    if not len(keypoints):
        return torch.zeros(0, dtype=torch.int64, device=keypoints.device)
    boxes = torch.cat([keypoints.amin(1), keypoints.amax(1)], 1)
    kept: Tensor = nms(boxes.float(), scores.float(), threshold)
    return kept[:limit]


def pose_area(keypoints: Tensor) -> Tensor:
    """Return the area (N,) of the extent of (N, K, 2) keypoints."""
    if not len(keypoints):
        return keypoints.new_zeros(0)
    low, high = torch.aminmax(keypoints, dim=1)
    width, height = (high - low).unbind(1)
    return width * height


@numba.njit(cache=True)
def _survivors(
    order: NDArray[np.int64],
    poses: Floats,
    area: Floats,
    variance: Floats,
    threshold: float,
    limit: int,
) -> NDArray[np.int64]:
    """Return which of the people (N, K, 2) to keep, taken in an order (N,).

    OKS as in `layers.oks`. A sum of similarities that has passed the threshold cannot fall back,
    and one that full likeness of all other keypoints would not lift above it cannot pass it.
    """
    people, keypoints, _ = poses.shape
    kept = np.empty(min(people, limit), np.int64)
    count = 0
    needed = threshold * keypoints
    for one in order:
        if count == limit:
            break
        alone = True
        for other in kept[:count]:
            pair_area = (area[one] + area[other]) / 2 + EPSILON
            likeness = 0.0
            for k in range(keypoints):
                dx = poses[one, k, 0] - poses[other, k, 0]
                dy = poses[one, k, 1] - poses[other, k, 1]
                exponent = (dx * dx + dy * dy) / (variance[k] * pair_area) / 2
                if exponent < 40:  # beyond, the similarity is lost in the sum's last digit
                    likeness += np.exp(-exponent)
                if likeness > needed or likeness + (keypoints - 1 - k) <= needed:
                    break
            if likeness > needed:
                alone = False
                break
        if alone:
            kept[count] = one
            count += 1
    return kept[:count]
