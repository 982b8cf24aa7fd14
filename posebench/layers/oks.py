"""Object keypoint similarity (OKS), COCO's measure of how near two poses are."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from posebench.skeleton import Skeleton

if TYPE_CHECKING:
    from torch import Tensor

# Scoring a result file needs no torch, and importing it takes longer than scoring.
Numbers = TypeVar("Numbers", NDArray[np.float64], "Tensor")

# What the official tool adds to an area before it divides by it.
EPSILON = float(np.spacing(1))


def oks(
    predicted: Tensor, keypoints: Tensor, visibility: Tensor, area: Tensor, sigmas: Tensor
) -> Tensor:
    """Return the OKS of every predicted pose with every annotated one.

    Args:
        predicted: (P, K, 2) pixels.
        keypoints: (N, K, 2) pixels.
        visibility: (N, K), above 0 where a keypoint counts.
        area: (N,) or (P, N) square pixels.
        sigmas: (K,) of the skeleton.

    Returns:
        (P, N) in [0, 1]; 0 for a person without a keypoint that counts.

    Source: COCO keypoint evaluation: mean of exp(-d^2 / (2 area (2 sigma)^2)).
    """
    squared = ((predicted[:, None] - keypoints[None]) ** 2).sum(-1)
    similarity = keypoint_similarity(squared, area, sigmas)
    counted = (visibility > 0).to(similarity.dtype)
    return (similarity * counted).sum(-1) / counted.sum(-1).clamp(min=1)


def keypoint_similarity(squared_distance: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    """Return the similarity of single keypoints, of which OKS is the mean.

    Args:
        squared_distance: (..., K) square pixels.
        area: (...) of the annotated person, square pixels; leading dimensions broadcast.
        sigmas: (K,) of the skeleton.

    Returns:
        (..., K) in [0, 1], 1 where the keypoints coincide.
    """
    return similarity_exponent(squared_distance, area, sigmas).exp()


def similarity_exponent(squared_distance: Numbers, area: Numbers, sigmas: Numbers) -> Numbers:
    """Return the logarithm of `keypoint_similarity`, of arrays or tensors."""
    variance = (2 * sigmas) ** 2
    return -squared_distance / variance / (area[..., None] + EPSILON) / 2


def count_keypoints(visibility: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.int64]:
    """Return `num_keypoints` as the official annotation files count it.

    Args:
        visibility: (N, K), above 0 where a keypoint is labelled.
        skeleton: whose keypoints these are.

    Returns:
        (N,); people with 0 are ignored in evaluation.
    """
    counted = [name not in skeleton.not_counted for name in skeleton.keypoints]
    return np.asarray((visibility[:, counted] > 0).sum(1), dtype=np.int64)
