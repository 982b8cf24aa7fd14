"""DEKR's losses: squared error of the heatmaps, and smooth L1 of the offsets around centres."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from posebench.distributed import mean_counts
from posebench.layers.precision import to_float32
from posebench.models.dekr.decoding import DEKROutputs
from posebench.models.dekr.targets import DEKRTargets

BETA = 1 / 9  # cells, up to which the loss of an offset is quadratic


def loss_terms(
    outputs: DEKROutputs, targets: DEKRTargets, offset_weight: float
) -> dict[str, Tensor]:
    """Return the two terms, weighted.

    Args:
        outputs: of one scale.
        targets: of the same images.
        offset_weight: factor of the second term.
    """
    return {
        "heatmap": heatmap_loss(outputs.heatmaps, targets.heatmaps, targets.heatmap_weights),
        "offset": offset_weight
        * offset_loss(outputs.offsets, targets.offsets, targets.offset_weights),
    }


def heatmap_loss(maps: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over all cells of the weighted squared error.

    Args:
        maps: (B, K + 1, H, W).
        targets: (B, K + 1, H, W).
        weights: (B, K + 1, H, W), 0 where the loss is ignored.
    """
    return ((to_float32(maps) - targets).square() * weights).mean()


def offset_loss(offsets: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted smooth L1 loss over the number of offsets that have a weight.

    Args:
        offsets: (B, 2 K, H, W).
        targets: (B, 2 K, H, W).
        weights: (B, 2 K, H, W), 0 where nothing is regressed.

    Source: the published code. On several ranks ours divides by their mean number, so that a step
    does not depend on how images are distributed.
    """
    errors = F.smooth_l1_loss(to_float32(offsets), targets, beta=BETA, reduction="none")
    return (errors * weights).sum() / mean_counts((weights > 0).sum()[None])[0]
