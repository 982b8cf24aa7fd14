"""Mask R-CNN's profile: what benchmarks, figures and the oracle need to know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import (
    nms,
)

from posebench.layers.precision import to_float32
from posebench.models.graph import Graph
from posebench.models.mask_rcnn.model import (
    FIGURE_STRIDE,
    OVERLAP,
    MaskRCNN,
    MaskRCNNOutputs,
    _ideal_logits,
    _paste,
    image_targets,
)
from posebench.models.mask_rcnn.slots import graph_outputs, restored
from posebench.models.profile import Profile
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PosePredictions,
)
from posebench.transfer import moved


def stages(
    model: MaskRCNN, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> Iterator[tuple[str, Any]]:
    """Yield the name and outputs of each timed stage."""
    features = model.features(images, padding)
    yield "backbone", features
    yield from model.head_stages(features, people)


def given_people(model: MaskRCNN, batch: Batch) -> Tensor:
    """Return the image, row and column (M, 3) of the centre of each annotated box, in cells."""
    people = []
    for image, targets in enumerate(image_targets(batch)):
        x, y = targets["boxes"].view(-1, 2, 2).mean(1).unbind(1)
        people.append(torch.stack([torch.full_like(x, image * model.stride), y, x], 1))
    return (torch.cat(people) / model.stride).long()


def heatmaps(
    model: MaskRCNN, outputs: MaskRCNNOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return each image's people, with each person's maps in its box, scaled to a maximum of 1.

    The scene is the maximum over people and keypoints.
    """
    height, width = (side // FIGURE_STRIDE for side in outputs.size)
    explained = []
    for predictions, boxes, logits, to_image in zip(
        model.decode(outputs, geometry), outputs.boxes, outputs.logits, geometry.to_image,
        strict=True,
    ):  # fmt: skip
        maps = logits.new_zeros(len(logits), len(model.skeleton), height, width)
        for own, box, logit in zip(maps, boxes / FIGURE_STRIDE, to_float32(logits), strict=True):
            _paste(own, box, (logit - logit.amax((1, 2), keepdim=True)).exp())
        scene = maps.amax((0, 1)) if len(maps) else maps.new_zeros(height, width)
        explained.append(
            (predictions, Heatmaps({"keypoints": scene}, maps, FIGURE_STRIDE, to_image))
        )
    return explained


def ideal_outputs(model: MaskRCNN, batch: Batch) -> MaskRCNNOutputs:
    """Return the annotated boxes that suppression keeps, with ideal heatmaps of their keypoints.

    A keypoint outside its person's box is put into the nearest cell of the box.
    """
    outputs = MaskRCNNOutputs([], [], [], (batch.images.shape[-2], batch.images.shape[-1]))
    for targets in image_targets(batch):
        labelled = (targets["keypoints"][..., 2] > 0).any(1)
        boxes, keypoints = targets["boxes"][labelled], targets["keypoints"][labelled]
        kept = nms(boxes, torch.ones(len(boxes)), OVERLAP)
        boxes, keypoints = boxes[kept], keypoints[kept]
        outputs.boxes.append(boxes)
        outputs.scores.append(torch.ones(len(boxes)))
        outputs.logits.append(_ideal_logits(boxes, keypoints))
    return moved(outputs, batch.device)


PROFILE: Profile[MaskRCNN] = Profile(
    graph=Graph(graph_outputs, restored, reads_padding=True, slots=("boxes", "scores", "logits")),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    stages=stages,
    given_people=given_people,
)
