"""HigherHRNet as clocks, counters, pictures and upper bounds see it."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.layers.heatmaps import cell_poses
from posebench.models.higher_hrnet.model import (
    HigherHRNet,
    HigherHRNetOutputs,
    _ideal_tags,
    _likeness,
    _resized,
    _resized_tags,
    build_targets,
)
from posebench.models.higher_hrnet.recipes import STRIDE
from posebench.models.profile import Profile
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PosePredictions,
)


def heatmaps(
    model: HigherHRNet, outputs: HigherHRNetOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return the highest keypoint anywhere, and each person's maps where its tag is near."""
    size = (outputs.size[0] // STRIDE, outputs.size[1] // STRIDE)
    heatmaps = _resized(model.aggregated(outputs), size).clamp(0, 1)
    tags = _resized_tags(model.fine_tags(outputs), size)
    explained = []
    for predictions, maps, own_tags, to_image in zip(
        model.decode(outputs, geometry), heatmaps, tags, geometry.to_image, strict=True
    ):
        people = [
            maps * _likeness(own_tags, maps, keypoints, to_image)
            for keypoints in predictions.keypoints
        ]
        shown = torch.stack(people) if people else maps.new_zeros(0, *maps.shape)
        scene = {"keypoints": maps.amax(0)}
        explained.append((predictions, Heatmaps(scene, shown, STRIDE, to_image)))
    return explained


def ideal_outputs(model: HigherHRNet, batch: Batch) -> HigherHRNetOutputs:
    """Return the training targets, with tags that tell all people apart."""
    height, width = batch.images.shape[-2:]
    everywhere = {
        s: torch.ones(len(batch), height // s, width // s, dtype=torch.bool) for s in model.strides
    }
    targets = build_targets(replace(batch, masks=everywhere), model.strides)
    tags = torch.stack([_ideal_tags(poses, (height, width)) for poses in cell_poses(batch, STRIDE)])
    return HigherHRNetOutputs(targets.heatmaps, tags[:, :, None], (height, width))


PROFILE = Profile(
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
)
