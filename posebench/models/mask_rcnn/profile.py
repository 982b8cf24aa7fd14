"""Mask R-CNN's profile: what benchmarks, figures and the oracle need to know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import (
    nms,
)

from posebench.layers.precision import to_float32
from posebench.models.graph import Graph, Named
from posebench.models.mask_rcnn.model import (
    MaskRCNN,
    MaskRCNNOutputs,
)
from posebench.models.mask_rcnn.slots import (
    detected,
    image_numbers,
    in_one_batch,
    limits_of,
    pooled,
)
from posebench.models.mask_rcnn.targets import image_targets
from posebench.models.mask_rcnn.views import OVERLAP
from posebench.models.profile import Profile
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PosePredictions,
)
from posebench.transfer import moved

CELLS = 56  # along each side of a box's heatmaps
FIGURE_STRIDE = 8  # of the heatmaps in figures


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


def _paste(maps: Tensor, box: Tensor, heat: Tensor) -> None:
    """Resize one person's `heat` (K, 56, 56) to its box of cells and write it to `maps`."""
    height, width = maps.shape[-2:]
    left, top = (int(edge) for edge in box[:2].floor().clamp(min=0))
    right = min(max(int(box[2].ceil()), left + 1), width)
    bottom = min(max(int(box[3].ceil()), top + 1), height)
    if left >= right or top >= bottom:
        return
    maps[:, top:bottom, left:right] = F.interpolate(
        heat[None], (bottom - top, right - left), mode="bilinear", align_corners=False
    )[0]


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


def _ideal_logits(boxes: Tensor, keypoints: Tensor) -> Tensor:
    """Return logits (N, K, 56, 56) that are high in the cell of each labelled keypoint."""
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    cells = ((keypoints[..., :2] - boxes[:, None, :2]) / sides * CELLS).floor()
    cells = cells.long().clamp(0, CELLS - 1)
    columns, rows = (F.one_hot(cells[..., axis], CELLS).float() for axis in (0, 1))
    labelled = (keypoints[..., 2] > 0)[..., None, None]
    return 20 * labelled * rows[..., :, None] * columns[..., None, :]


def graph_outputs(
    model: MaskRCNN, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return the boxes (B, 100, 4), scores (B, 100) and logits (B, 100, K, 56, 56) of people."""
    padded, maps = model.pyramid(images)
    heads, levels = model.roi_heads, in_one_batch(model.pooled_levels(maps))
    size = (padded.shape[-2], padded.shape[-1])
    people = detected(model, list(maps.values()), levels, size, limits_of(images, padding))
    # Slots with a person are computed, and a further one, whose maps all empty slots repeat.
    found = people.found.flatten()
    rows = F.pad(found, (0, 1), value=True).nonzero()[:, 0]
    slots = F.pad(people.boxes.flatten(0, 1), (0, 0, 0, 1))[rows]
    numbers = F.pad(image_numbers(people.boxes), (0, 1))[rows]
    features = pooled(heads.keypoint_roi_pool, levels, numbers, slots, model.stride)
    computed = heads.keypoint_predictor(heads.keypoint_head(features))
    places = (found.cumsum(0) - 1).where(found, rows.shape[0] - 1)
    logits = computed[places].unflatten(0, people.found.shape)
    return {"boxes": people.boxes, "scores": people.scores, "logits": logits}


def restored(model: MaskRCNN, tensors: Named, size: tuple[int, int]) -> MaskRCNNOutputs:
    """Return the outputs that a runtime has computed, of the slots that are people."""
    names = ("boxes", "scores", "logits")
    found = tensors["scores"] > 0
    boxes, scores, logits = (
        [own[rows] for own, rows in zip(tensors[name], found, strict=True)] for name in names
    )
    return MaskRCNNOutputs(boxes, scores, logits, size)


PROFILE: Profile[MaskRCNN] = Profile(
    graph=Graph(graph_outputs, restored, reads_padding=True, slots=("boxes", "scores", "logits")),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    stages=stages,
    given_people=given_people,
)
