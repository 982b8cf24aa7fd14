"""Non-maximum suppression of poses, by OKS or by the overlap of their boxes.

Whether a person is suppressed depends on which better ones were kept, so the work is a loop. For
OKS it is compiled (`nms_numba`), leaves a pair as soon as it is decided, and runs on the CPU
wherever the poses are: they are few numbers, and copying them takes less time than launching a
kernel for every survivor.
"""

from __future__ import annotations

import torch
from torch import Tensor


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

    A person is suppressed if their OKS with a better one who is kept is above the threshold; a
    pair's area is the mean of both.

    Args:
        keypoints: (N, K, 2); every keypoint counts, whatever its score.
        scores: (N,); of equal ones the first is better.
        sigmas: (K,).
        threshold: OKS.
        area: (N,) square pixels; None: `pose_area`.
        limit: how many to keep at most; None: all.
    """
    # Compiled by numba, which takes long to import.
    from posebench.layers.nms_numba import survivors

    if area is None:
        area = pose_area(keypoints)
    kept = survivors(
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
        threshold: intersection over union with a better person, above which one is suppressed.
        limit: how many to keep at most; None: all.
    """
    if not len(keypoints):
        return torch.zeros(0, dtype=torch.int64, device=keypoints.device)
    from torchvision.ops import nms

    boxes = torch.cat([keypoints.amin(1), keypoints.amax(1)], 1)
    kept: Tensor = nms(boxes.float(), scores.float(), threshold)
    return kept[:limit]


def pose_area(keypoints: Tensor) -> Tensor:
    """Return the areas (N,) of the extents of (N, K, 2) keypoints."""
    if not len(keypoints):
        return keypoints.new_zeros(0)
    low, high = torch.aminmax(keypoints, dim=1)
    width, height = (high - low).unbind(1)
    return width * height
