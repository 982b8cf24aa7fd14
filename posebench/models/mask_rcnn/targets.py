"""Mask R-CNN's targets: the annotated people in torchvision's format."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from posebench.structures import Batch


def image_targets(batch: Batch) -> list[dict[str, Tensor]]:
    """Return each image's people in torchvision's format, on the CPU."""
    images = zip(batch.poses, batch.geometry.sizes, strict=True)
    return [_image_targets(poses, size) for poses, size in images]


def _image_targets(poses: Any, size: Tensor) -> dict[str, Tensor]:
    """Return boxes (N, 4), labels (N,) and keypoints (N, K, 3) in torchvision's format.

    Boxes of people without labelled keypoints are included, as in torchvision's training.
    """
    corners = torch.cat([poses.boxes, poses.unlabelled])
    low = corners.amin(1).clamp(min=0)
    high = torch.minimum(corners.amax(1), size.to(corners))
    # People of whom a crop leaves no whole pixel are dropped.
    kept = ((high - low) >= 1).all(1)
    labelled = (poses.visibility > 0).to(poses.keypoints)[..., None]
    keypoints = torch.cat([poses.keypoints * labelled, labelled], -1)
    unlabelled = keypoints.new_zeros(len(poses.unlabelled), *keypoints.shape[1:])
    boxes = torch.cat([low, high], 1)[kept]
    return {
        "boxes": boxes.float(),
        "labels": torch.ones(len(boxes), dtype=torch.int64, device=boxes.device),
        "keypoints": torch.cat([keypoints, unlabelled])[kept].float(),
    }
