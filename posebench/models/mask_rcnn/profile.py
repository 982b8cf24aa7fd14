"""Mask R-CNN as clocks, counters, pictures and upper bounds see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import (
    nms,
)

from posebench.layers.precision import to_float32
from posebench.models.mask_rcnn.model import (
    DRAWN_STRIDE,
    OVERLAP,
    MaskRCNN,
    MaskRCNNOutputs,
    _ideal_logits,
    _paste,
)
from posebench.models.profile import Profile
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PosePredictions,
)


def stages(
    model: MaskRCNN, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> Iterator[tuple[str, Any]]:
    features = model.features(images, padding)
    yield "backbone", features
    yield from model.head_stages(features, people)


def given_people(model: MaskRCNN, batch: Batch) -> Tensor:
    people = []
    for image, targets in enumerate(model.targets(batch)):
        x, y = targets["boxes"].view(-1, 2, 2).mean(1).unbind(1)
        people.append(torch.stack([torch.full_like(x, image * model.stride), y, x], 1))
    return (torch.cat(people) / model.stride).long()


def heatmaps(
    model: MaskRCNN, outputs: MaskRCNNOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return each person's maps in its box, the highest being 1, and all of them at once."""
    height, width = (side // DRAWN_STRIDE for side in outputs.size)
    explained = []
    for predictions, boxes, logits, to_image in zip(
        model.decode(outputs, geometry), outputs.boxes, outputs.logits, geometry.to_image,
        strict=True,
    ):  # fmt: skip
        maps = logits.new_zeros(len(logits), len(model.skeleton), height, width)
        for own, box, logit in zip(maps, boxes / DRAWN_STRIDE, to_float32(logits), strict=True):
            _paste(own, box, (logit - logit.amax((1, 2), keepdim=True)).exp())
        scene = maps.amax((0, 1)) if len(maps) else maps.new_zeros(height, width)
        shown = Heatmaps({"keypoints": scene}, maps, DRAWN_STRIDE, to_image)
        explained.append((predictions, shown))
    return explained


def ideal_outputs(model: MaskRCNN, batch: Batch) -> MaskRCNNOutputs:
    """Return the annotated boxes that suppression leaves, with the cells of their keypoints.

    A keypoint outside its person's box is in the box's nearest cell.
    """
    outputs = MaskRCNNOutputs([], [], [], (batch.images.shape[-2], batch.images.shape[-1]))
    for targets in model.targets(batch):
        labelled = (targets["keypoints"][..., 2] > 0).any(1)
        boxes, keypoints = targets["boxes"][labelled], targets["keypoints"][labelled]
        kept = nms(boxes, torch.ones(len(boxes)), OVERLAP)
        boxes, keypoints = boxes[kept], keypoints[kept]
        outputs.boxes.append(boxes)
        outputs.scores.append(torch.ones(len(boxes)))
        outputs.logits.append(_ideal_logits(boxes, keypoints))
    return outputs


PROFILE = Profile(
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    stages=stages,
    given_people=given_people,
)
