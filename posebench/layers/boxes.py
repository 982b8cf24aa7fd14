"""Boxes, given as centre x, y, width, height."""

from __future__ import annotations

import torch
from torch import Tensor


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the generalised IoU (...) of boxes (..., 4), whose leading dimensions broadcast.

    Source: GIoU (arXiv:1902.09630); as ED-Pose published it, 1e-6 is added to the areas of union
    and hull.
    """
    (low, high), (other_low, other_high) = _corners(boxes), _corners(others)
    shared = torch.minimum(high, other_high) - torch.maximum(low, other_low)
    hull = (torch.maximum(high, other_high) - torch.minimum(low, other_low)).prod(-1)
    intersection = shared.clamp(min=0).prod(-1)
    union = boxes[..., 2:].prod(-1) + others[..., 2:].prod(-1) - intersection
    return intersection / (union + 1e-6) - (hull - union) / (hull + 1e-6)


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners (..., 2) of least and of greatest x and y of boxes (..., 4)."""
    centres, sides = boxes.chunk(2, -1)
    return centres - sides / 2, centres + sides / 2
