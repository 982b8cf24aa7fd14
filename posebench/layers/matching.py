"""Hungarian matching of predictions to people: its costs, and the focal loss.

Shapes: N predictions, P people of one image, R sets of predictions for the same image, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from posebench.layers.oks import keypoint_similarity
from posebench.transfer import moved, to_host

Indices = NDArray[np.int64]

PERSON = 1  # column of the logits; column 0 is never a target

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2


def assignment(costs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the assignment of least total cost for each of R cost matrices (R, N, P).

    Returns:
        For each matrix the matched predictions, ascending, and their people, on the costs' device.

    Source: DETR (arXiv:2005.12872), Eq. 1.
    """
    [pairs] = assignments([costs])
    return pairs


def assignments(costs: Sequence[Tensor]) -> list[list[tuple[Tensor, Tensor]]]:
    """Return `assignment` of several images' costs, which go to the CPU in one copy, and back."""
    matched = [
        [(torch.from_numpy(queries), torch.from_numpy(people)) for queries, people in own]
        for own in pairs_on_cpu(costs)
    ]
    return moved(matched, costs[0].device)


def pairs_on_cpu(costs: Sequence[Tensor]) -> list[list[tuple[Indices, Indices]]]:
    """Return what `assignments` does in NumPy's arrays; the costs go to the CPU in one copy."""
    from scipy.optimize import linear_sum_assignment

    matched = []
    for own in to_host([one.detach().float() for one in costs]):
        # NaN of a diverging network would raise here; the loss reports it in a clearer way.
        finite = np.nan_to_num(own.numpy(), nan=1e9, posinf=1e9, neginf=-1e9)
        matched.append([linear_sum_assignment(matrix) for matrix in finite])
    return matched


def focal_cost(logits: Tensor) -> Tensor:
    """Return the matching cost (...) of logits: their focal loss as a person, less as background.

    Source: Deformable DETR's matching.
    """
    scores = logits.sigmoid()
    background = (1 - FOCAL_ALPHA) * scores**FOCAL_GAMMA * -(1 - scores + 1e-8).log()
    person = FOCAL_ALPHA * (1 - scores) ** FOCAL_GAMMA * -(scores + 1e-8).log()
    return person - background


def keypoint_costs(
    keypoints: Tensor, truth: Tensor, visible: Tensor, area: Tensor, sigmas: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the matching costs of keypoints (R, N, P), unweighted: their L1 distance, and 1 - OKS.

    Args:
        keypoints: (R, N, K, 2).
        truth: (P, K, 2), the annotated keypoints.
        visible: (P, K) bool, True where a keypoint is labelled.
        area: (P,) as shares of the image's.
        sigmas: (K,) of the skeleton.
    """
    error = keypoints[:, :, None] - truth  # (R, N, P, K, 2)
    distance = (error.abs() * visible[..., None]).sum((-1, -2))
    similarity = keypoint_similarity(error.square().sum(-1), area, sigmas) * visible
    oks = similarity.sum(-1) / visible.sum(-1).clamp(min=1)
    return distance, 1 - oks.clamp(min=1e-6)


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the focal loss of each logit (...); `targets` (...) are 0 or 1.

    Source: focal loss (arXiv:1708.02002), Eq. 5.
    """
    scores = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    error = scores + targets - 2 * scores * targets
    balance = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    return balance * entropy * error**FOCAL_GAMMA
