"""Hungarian matching of predictions to people, and the focal loss in its costs and losses.

Shapes: N predictions, P people of one image, R sets of predictions for the same image.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PERSON = 1  # column of the logits; column 0 is never a target

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2


def assignment(costs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the assignment of least total cost for each of R cost matrices (R, N, P).

    Returns:
        For each matrix the matched predictions, ascending, and their people, on the costs' device.

    Source: DETR (arXiv:2005.12872), Eq. 1.
    """
    from scipy.optimize import linear_sum_assignment

    # NaN of a diverging network would raise here; the loss reports it in a clearer way.
    finite = np.nan_to_num(costs.detach().float().cpu().numpy(), nan=1e9, posinf=1e9, neginf=-1e9)
    pairs = (linear_sum_assignment(matrix) for matrix in finite)
    return [
        (
            torch.as_tensor(rows, dtype=torch.int64, device=costs.device),
            torch.as_tensor(columns, dtype=torch.int64, device=costs.device),
        )
        for rows, columns in pairs
    ]


def focal_cost(logits: Tensor) -> Tensor:
    """Return the matching cost (...) of logits: their focal loss as a person, less as background.

    Source: Deformable DETR's matching.
    """
    scores = logits.sigmoid()
    background = (1 - FOCAL_ALPHA) * scores**FOCAL_GAMMA * -(1 - scores + 1e-8).log()
    person = FOCAL_ALPHA * (1 - scores) ** FOCAL_GAMMA * -(scores + 1e-8).log()
    return person - background


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the focal loss of each logit (...); `targets` (...) are 0 or 1.

    Source: focal loss (arXiv:1708.02002), Eq. 5.
    """
    scores = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    error = scores + targets - 2 * scores * targets
    balance = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    return balance * entropy * error**FOCAL_GAMMA
