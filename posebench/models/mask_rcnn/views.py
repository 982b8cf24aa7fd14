"""Mask R-CNN's outputs for several views of the images, merged into those of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torchvision.ops import nms

from posebench.layers.affine import apply
from posebench.structures import Batch
from posebench.transfer import to_device

if TYPE_CHECKING:
    from posebench.models.mask_rcnn.model import MaskRCNNOutputs

OVERLAP = 0.5  # IoU with a better box above which a box is suppressed


def in_pixels_of(first: Batch, outputs: MaskRCNNOutputs, batch: Batch) -> MaskRCNNOutputs:
    """Return the outputs of `batch` in pixels of `first`, a batch of the same images."""
    if batch is first:
        return outputs
    boxes = []
    for own, to_image, first_to_image in zip(
        outputs.boxes, batch.geometry.to_image, first.geometry.to_image, strict=True
    ):
        back = torch.linalg.inv(first_to_image[:, :2])
        to_image, shift, back = to_device(
            [matrix.to(own.dtype) for matrix in (to_image, first_to_image[:, 2], back)], own.device
        )
        corners = apply(own.view(-1, 2, 2), to_image) - shift
        boxes.append((corners @ back.T).flatten(1))
    height, width = first.images.shape[-2:]
    return replace(outputs, boxes=boxes, size=(height, width))


def merged(views: Sequence[MaskRCNNOutputs]) -> MaskRCNNOutputs:
    """Return the people of all views after box suppression, best first."""
    joined = replace(views[0], boxes=[], scores=[], logits=[])
    for image in range(len(views[0].boxes)):
        boxes = torch.cat([view.boxes[image] for view in views])
        scores = torch.cat([view.scores[image] for view in views])
        logits = torch.cat([view.logits[image] for view in views])
        kept = nms(boxes, scores, OVERLAP)  # best first
        joined.boxes.append(boxes[kept])
        joined.scores.append(scores[kept])
        joined.logits.append(logits[kept])
    return joined
