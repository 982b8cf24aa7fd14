"""PifPaf's losses, with the terms of DGCN's paper.

Shapes: B images, V values of a field in each cell, h x w cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.distributed import mean_counts
from posebench.models.pifpaf.targets import KEYPOINT_VALUES


@dataclass(frozen=True)
class FieldLosses:
    """Scalars, each a sum over maps of the mean over cells that count."""

    confidence: Tensor
    offset: Tensor
    scale: Tensor


def field_losses(fields: Tensor, targets: Tensor) -> FieldLosses:
    """Compare fields with their targets.

    Args:
        fields: (B, maps, V, h, w), V 4 for keypoints or 7 for limbs.
        targets: the same; a NaN confidence does not count, nor does a NaN scale.

    Source: DGCN, Eqs. 2 and 3: binary cross-entropy on confidence, smooth L1 on offsets where there
    is something, and so on scales. That each map's is a mean over its cells is our reading.
    """
    fields = fields.to(torch.promote_types(fields.dtype, torch.float32))
    ends = 1 if fields.shape[2] == KEYPOINT_VALUES else 2
    there = (targets[:, :, 0] == 1)[:, :, None]
    offset = slice(1, 1 + 2 * ends)
    scale = slice(1 + 2 * ends, None)
    return FieldLosses(
        confidence_loss(fields[:, :, 0], targets[:, :, 0]),
        _distance_loss(fields[:, :, offset], targets[:, :, offset], there),
        _distance_loss(fields[:, :, scale], targets[:, :, scale], there),
    )


def confidence_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over maps of the binary cross-entropy's mean over cells that are not NaN.

    Args:
        logits: (B, maps, h, w).
        targets: (B, maps, h, w).
    """
    counted = ~targets.isnan()
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    wanted = targets.nan_to_num(0.0).to(logits)
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return ((each * counted).sum((0, 2, 3)) / mean_counts(counted.sum((0, 2, 3)))).sum()


def _distance_loss(values: Tensor, targets: Tensor, there: Tensor) -> Tensor:
    """Return the sum over maps and values of smooth L1's mean over the cells that tell them."""
    counted = there & ~targets.isnan()
    each = F.smooth_l1_loss(values, targets.where(counted, 0.0), reduction="none")
    return ((each * counted).sum((0, 3, 4)) / mean_counts(counted.sum((0, 3, 4)))).sum()
