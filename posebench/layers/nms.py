"""Suppression of people found twice."""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.layers.oks import oks


def oks_nms(keypoints: Tensor, scores: Tensor, sigmas: Tensor, threshold: float) -> Tensor:
    """Return the indices of the people to keep, best first.

    Args:
        keypoints: (N, K, 2); every keypoint counts, whatever its score.
        scores: (N,).
        sigmas: (K,).
        threshold: OKS to a better person above which a person goes.

    The area of a person is the extent of its keypoints; a pair takes the mean of both.
    """
    extent = keypoints.amax(1) - keypoints.amin(1) if len(keypoints) else keypoints[:, 0]
    area = extent.prod(1)
    labelled = torch.ones_like(keypoints[..., 0])
    similarity = oks(keypoints, keypoints, labelled, (area[:, None] + area) / 2, sigmas)
    order = torch.argsort(scores, descending=True, stable=True)
    close = (similarity[order][:, order] > threshold).cpu()
    keep: list[int] = []
    for candidate in range(len(order)):
        if not close[candidate, keep].any():
            keep.append(candidate)
    return order[keep]
