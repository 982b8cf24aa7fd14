"""Which keypoints belong together: graphs of keypoints, from limbs or from mean distances.

Source: DGCN (Qiu et al., AAAI 2020), Eqs. 4 to 7. Shapes: N people, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.layers.fields import FieldLayout
from posebench.structures import Skeleton

_LEAST_DISTANCE = 1e-6  # two keypoints that always coincide have no infinite bond

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KeypointDistances:
    """How far apart keypoints lie on people, as a share of the people's size."""

    mean: Floats  # (K, K), 0 on the diagonal
    pairs: NDArray[np.int64]  # (K, K) people of whom both are labelled
    people: int  # of whom at least two keypoints are labelled


def measure_distances(
    annotations: Sequence[dict[str, Any]], skeleton: Skeleton
) -> KeypointDistances:
    """Return the mean distances of the annotated people's keypoints.

    A person's size is the root of its box's area. Crowds and people with fewer than two labelled
    keypoints do not count. A pair that nobody has is as far apart as the farthest one.

    Args:
        annotations: in COCO's format.
        skeleton: their keypoint set.

    Source: DGCN, Eq. 5, whose mean is over all people; here over those who have both keypoints.
    """
    count = len(skeleton)
    people = [a for a in annotations if not a.get("iscrowd", 0)]
    rows = np.array([a["keypoints"] for a in people], np.float64).reshape(len(people), count, 3)
    boxes = np.array([a["bbox"] for a in people], np.float64).reshape(len(people), 4)
    labelled = rows[..., 2] > 0
    size = np.sqrt(boxes[:, 2] * boxes[:, 3])
    chosen = (labelled.sum(1) >= 2) & (size > 0)
    keypoints, labelled, size = rows[chosen, :, :2], labelled[chosen], size[chosen]
    total, pairs = np.zeros((count, count)), np.zeros((count, count), np.int64)
    for k in range(count):
        both = labelled & labelled[:, k, None]
        away = np.linalg.norm(keypoints - keypoints[:, k, None], axis=-1) / size[:, None]
        total[k], pairs[k] = (away * both).sum(0), both.sum(0)
    mean = total / np.maximum(pairs, 1)
    farthest = mean.max() or 1.0
    mean = np.where(pairs > 0, mean, farthest)
    np.fill_diagonal(mean, 0)
    return KeypointDistances(mean, pairs, int(chosen.sum()))


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
