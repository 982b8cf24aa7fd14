"""Which keypoints belong together: graphs of keypoints, from limbs or from mean distances.

Source: DGCN (Qiu et al., AAAI 2020), Eqs. 4 to 7. Shapes: N people, K keypoints.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.models.pifpaf.targets import FieldLayout

_LEAST_DISTANCE = 1e-6  # two keypoints that always coincide have no infinite bond

Floats = NDArray[np.float64]


def upright_distances(layout: FieldLayout) -> Floats:
    """Return the distances (K, K) on a standing person, for want of annotated ones."""
    upright = np.array(layout.upright)
    size = np.sqrt(np.prod(upright.max(0) - upright.min(0)))
    away: Floats = np.linalg.norm(upright[:, None] - upright[None], axis=-1) / size
    return away


def soft_adjacency(mean: Floats, gamma: float) -> Tensor:
    """Return A_s (K, K) float32: row by row the softmax of gamma over distance, 1 on the diagonal.

    Source: DGCN, Eq. 6; the diagonal takes no part in the softmax.
    """
    logits = gamma / torch.from_numpy(mean).clamp(min=_LEAST_DISTANCE)
    logits.fill_diagonal_(-torch.inf)
    return logits.softmax(1).fill_diagonal_(1.0).float()


def limb_adjacency(layout: FieldLayout) -> Tensor:
    """Return A_h (K, K) float32: 1 between the ends of a limb and on the diagonal, else 0."""
    adjacency = torch.eye(len(layout.upright))
    for first, second in layout.limbs:
        adjacency[first, second] = adjacency[second, first] = 1.0
    return adjacency


def drawn_adjacency(probability: Tensor, seed: int) -> Tensor:
    """Return A_d of probability's shape: each element is 1 with its probability, else 0.

    Drawn on the CPU, so that every device and process draws the same. Source: DGCN, Eq. 7.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.bernoulli(probability.cpu(), generator=generator).to(probability.device)
