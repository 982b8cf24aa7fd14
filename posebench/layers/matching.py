"""Hungarian matching of predictions to people, and the focal terms of its costs and losses.

Shapes: N predictions, P people of one image, T sets of predictions for the same image.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

PERSON = 1  # column of the logits; column 0 is never a target


FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2


def assignment(costs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the pairs of least total cost, for each of T cost matrices (T, N, P).

    Returns:
        For each matrix the matched predictions, rising, and their people, on the costs' device.

    Source: DETR (arXiv:2005.12872), Eq. 1.
    """
    # A diverging network's costs must not stop the run here: the loss itself says what is wrong.
    known = np.nan_to_num(costs.detach().float().cpu().numpy(), nan=1e9, posinf=1e9, neginf=-1e9)
    pairs = (linear_sum_assignment(matrix) for matrix in known)
    return [
        (
            torch.as_tensor(rows, dtype=torch.int64, device=costs.device),
            torch.as_tensor(columns, dtype=torch.int64, device=costs.device),
        )
        for rows, columns in pairs
    ]


def focal_cost(logits: Tensor) -> Tensor:
    """Return what it costs to call each of (...) logits a person rather than nobody.

    Source: Deformable DETR's matching.
    """
    scores = logits.sigmoid()
    nobody = (1 - FOCAL_ALPHA) * scores**FOCAL_GAMMA * -(1 - scores + 1e-8).log()
    person = FOCAL_ALPHA * (1 - scores) ** FOCAL_GAMMA * -(scores + 1e-8).log()
    return person - nobody


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the focal loss of each logit (...); `targets` (...) are 0 or 1.

    Source: focal loss (arXiv:1708.02002), Eq. 5.
    """
    scores = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    wrong = scores + targets - 2 * scores * targets
    balance = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    return balance * entropy * wrong**FOCAL_GAMMA
