"""PifPaf's profile: what figures and the oracle need to know."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from posebench.models.graph import Graph, Named
from posebench.models.pifpaf.model import (
    STRIDE,
    PifPaf,
    PifPafOutputs,
    _ideal,
    _nearness,
    people_in_cells,
)
from posebench.models.pifpaf.targets import (
    field_size,
    keypoint_fields,
    limb_fields,
)
from posebench.models.profile import Profile
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PosePredictions,
)
from posebench.transfer import moved


def heatmaps(
    model: PifPaf, outputs: PifPafOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return each image's people, with maps of the confidences.

    The scene has each cell's highest keypoint and limb confidence; a person has the keypoint
    confidences near it.
    """
    explained = []
    for image, predictions in enumerate(model.decode(outputs, geometry)):
        confidence = outputs.keypoints[image, :, 0].float().sigmoid()
        limbs = outputs.limbs[image, :, 0].float().sigmoid()
        to_image = geometry.to_image[image]
        near = [
            confidence * _nearness(keypoints, confidence.shape[-2:], to_image).to(confidence)
            for keypoints in predictions.keypoints
        ]
        people = torch.stack(near) if near else confidence.new_zeros(0, *confidence.shape)
        scene = {"keypoints": confidence.amax(0), "limbs": limbs.amax(0)}
        explained.append((predictions, Heatmaps(scene, people, STRIDE, to_image)))
    return explained


def ideal_outputs(model: PifPaf, batch: Batch) -> PifPafOutputs:
    """Return outputs that equal the training targets, with the ignored values filled in.

    People of unknown scale get the scale of their area. Cells in the boxes of crowd regions and
    unlabelled people, which training ignores, hold the fields of the labelled people there.
    """
    height, width = batch.images.shape[-2:]
    size = field_size((height, width), STRIDE)
    keypoints, limbs = [], []
    in_cells = people_in_cells(batch, model.current_layout(), STRIDE)
    for poses, people in zip(batch.poses, in_cells, strict=True):
        sigmas = people.scales.new_tensor(model.layout.sigmas)
        by_area = poses.area.sqrt()[:, None] / STRIDE * sigmas
        scales = torch.where(people.scales.isnan(), by_area, people.scales)
        known = replace(people, scales=scales, ignored=people.ignored[:0])
        keypoints.append(keypoint_fields(known, size))
        limbs.append(limb_fields(known, model.layout, size))
    outputs = PifPafOutputs(_ideal(torch.stack(keypoints)), _ideal(torch.stack(limbs)))
    return moved(outputs, batch.device)


def graph_outputs(
    model: PifPaf, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return both kinds of fields; the logits that train DGCN's modules are left out."""
    outputs: PifPafOutputs = model(images)
    return {"keypoints": outputs.keypoints, "limbs": outputs.limbs}


def restored(model: PifPaf, tensors: Named, size: tuple[int, int]) -> PifPafOutputs:
    """Return the outputs that a runtime has computed."""
    return PifPafOutputs(tensors["keypoints"], tensors["limbs"])


PROFILE = Profile(
    graph=Graph(graph_outputs, restored),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
)
