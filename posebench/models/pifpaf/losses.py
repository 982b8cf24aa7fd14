"""PifPaf's losses, with the terms of DGCN's paper.

Shapes: B images, V values per cell of a field, h x w cells.
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
    """Scalars, each a sum over maps of the mean over cells with a target."""

    confidence: Tensor
    offset: Tensor
    scale: Tensor


def field_losses(fields: Tensor, targets: Tensor) -> FieldLosses:
    """Return the losses of fields against their targets.

    Args:
        fields: (B, maps, V, h, w), V is 4 for keypoints or 7 for limbs.
        targets: (B, maps, V, h, w); a NaN confidence or scale is ignored.

    Source: DGCN, Eqs. 2 and 3: binary cross-entropy on confidences, smooth L1 on the offsets of
    positive cells. The same loss on scales, and the mean over each map's cells, are our reading.
    """
    fields = fields.to(torch.promote_types(fields.dtype, torch.float32))
    ends = 1 if fields.shape[2] == KEYPOINT_VALUES else 2
    positive = (targets[:, :, 0] == 1)[:, :, None]
    offset = slice(1, 1 + 2 * ends)
    scale = slice(1 + 2 * ends, None)
    return FieldLosses(
        confidence_loss(fields[:, :, 0], targets[:, :, 0]),
        _distance_loss(fields[:, :, offset], targets[:, :, offset], positive),
        _distance_loss(fields[:, :, scale], targets[:, :, scale], positive),
    )


def confidence_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over maps of the mean binary cross-entropy over cells.

    Args:
        logits: (B, maps, h, w).
        targets: (B, maps, h, w); NaN cells are ignored.
    """
    counted = ~targets.isnan()
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = targets.nan_to_num(0.0).to(logits)
    each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return ((each * counted).sum((0, 2, 3)) / mean_counts(counted.sum((0, 2, 3)))).sum()


def _distance_loss(values: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """Return the sum over maps and values of the mean smooth L1 loss over positive cells."""
    counted = positive & ~targets.isnan()
    each = F.smooth_l1_loss(values, targets.where(counted, 0.0), reduction="none")
    return ((each * counted).sum((0, 3, 4)) / mean_counts(counted.sum((0, 3, 4)))).sum()
