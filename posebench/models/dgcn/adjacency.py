"""Adjacency matrices of the keypoint graph, from limbs or from mean distances.

Source: DGCN (Qiu et al., AAAI 2020), Eqs. 4 to 7. Shapes: N people, K keypoints.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.models.pifpaf.targets import FieldLayout

_LEAST_DISTANCE = 1e-6  # keeps logits finite for keypoints that always coincide

Floats = NDArray[np.float64]


def upright_distances(layout: FieldLayout) -> Floats:
    """Return the distances (K, K) in the upright pose, used until annotated ones are known.

    Where that pose is not known either, all keypoints are equally far from each other.
    """
    if not layout.upright:
        return 1 - np.eye(len(layout.sigmas))
    upright = np.array(layout.upright)
    size = np.sqrt(np.prod(upright.max(0) - upright.min(0)))
    distances: Floats = np.linalg.norm(upright[:, None] - upright[None], axis=-1) / size
    return distances


def soft_adjacency(mean: Floats, gamma: float) -> Tensor:
    """Return A_s (K, K) float32: the softmax of gamma / distance in each row, 1 on the diagonal.

    Source: DGCN, Eq. 6; the softmax excludes the diagonal.
    """
    logits = gamma / torch.from_numpy(mean).clamp(min=_LEAST_DISTANCE)
    logits.fill_diagonal_(-torch.inf)
    return logits.softmax(1).fill_diagonal_(1.0).float()


def limb_adjacency(layout: FieldLayout) -> Tensor:
    """Return A_h (K, K) float32: 1 between the ends of a limb and on the diagonal, else 0."""
    adjacency = torch.eye(len(layout.sigmas))
    for first, second in layout.limbs:
        adjacency[first, second] = adjacency[second, first] = 1.0
    return adjacency


def sampled_adjacency(probability: Tensor, seed: int) -> Tensor:
    """Return A_d (K, K), in which each element is 1 with its `probability` (K, K), else 0.

    It is sampled on the CPU, so that all devices and ranks get the same. Source: DGCN, Eq. 7.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.bernoulli(probability, generator=generator)
