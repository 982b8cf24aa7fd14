"""Boxes, given as centre x, y, width, height."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_convert


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the generalised IoU (...) of boxes (..., 4), whose leading dimensions broadcast.

    Source: GIoU (arXiv:1902.09630); as ED-Pose published it, 1e-6 is added to the areas of union
    and hull.
    """
    one, other = (box_convert(each, "cxcywh", "xyxy") for each in (boxes, others))
    lowest, highest = torch.minimum(one, other), torch.maximum(one, other)
    shared = (lowest[..., 2:] - highest[..., :2]).clamp(min=0).prod(-1)
    hull = (highest[..., 2:] - lowest[..., :2]).prod(-1)
    union = boxes[..., 2:].prod(-1) + others[..., 2:].prod(-1) - shared
    return shared / (union + 1e-6) - (hull - union) / (hull + 1e-6)
