"""CID's losses: two of heatmaps, and one that separates the people of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.distributed import mean_count
from posebench.layers.heatmaps import heatmap_focal_loss
from posebench.layers.precision import to_float32
from posebench.models.cid.decoding import CIDOutputs
from posebench.models.cid.recipes import CIDConfig
from posebench.models.cid.targets import CIDTargets

TEMPERATURE = 0.05  # tau of Eq. 8


def loss_terms(outputs: CIDOutputs, targets: CIDTargets, config: CIDConfig) -> dict[str, Tensor]:
    """Return the three terms of Eq. 5, weighted.

    Args:
        outputs: for the people of the targets.
    """
    instance = heatmap_focal_loss(
        outputs.instance_heatmaps, targets.instance_heatmaps, targets.instance_mask
    )
    # On the outputs' device, where the people are too.
    contrastive = contrastive_loss(outputs.person_features, outputs.people[:, 0])
    return {
        "heatmap": heatmap_focal_loss(outputs.heatmaps, targets.heatmaps, targets.mask),
        "instance": config.instance_weight * instance,
        "contrastive": config.contrastive_weight * contrastive,
    }


def contrastive_loss(features: Tensor, image: Tensor) -> Tensor:
    """Push apart the feature vectors of people of the same image.

    Args:
        features: (M, C).
        image: (M,) index of each person's image.

    Returns:
        Scalar: mean over people, 0 without any.

    Source: Eq. 8, tau = 0.05.
    """
    unit = F.normalize(to_float32(features), dim=1)
    logits = (unit @ unit.T / TEMPERATURE).masked_fill(image[:, None] != image, -torch.inf)
    own = torch.arange(len(features), device=features.device)
    # Not cross_entropy's mean, which is 0 / 0 without people.
    total = F.cross_entropy(logits, own, reduction="sum")
    return total / mean_count(len(features), features.device)
