"""DEKR's profile: timed stages, pictures of its heatmaps, and its upper bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from posebench.layers.backbones.hrnet import joined
from posebench.layers.heatmaps import gaussian_heatmaps
from posebench.models.dekr.decoding import DEKROutputs
from posebench.models.dekr.model import DEKR
from posebench.models.dekr.recipes import STRIDE
from posebench.models.dekr.targets import SIGMA, build_targets, find_people
from posebench.models.graph import Graph, Named
from posebench.models.profile import Profile
from posebench.structures import Batch, Geometry, Heatmaps, PosePredictions
from posebench.transfer import moved, to_device

REACH = 3 * SIGMA  # cells around a keypoint in which pictures show its heatmap


def stages(
    model: DEKR, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> Iterator[tuple[str, Any]]:
    """Yield the name and output of the backbone and of both heads."""
    streams = model.features(images)
    yield "backbone", streams
    heatmaps = model.heatmaps(streams)
    yield "heatmaps", heatmaps
    yield "offsets", DEKROutputs(heatmaps, model.offsets(streams))


def as_written(
    model: DEKR, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> DEKROutputs:
    """Return the outputs, with the heads reading the joined map."""
    features = joined(model.features(images))
    heatmaps = model.heatmap_head(model.heatmap_transition.as_written(features))
    offsets = model.offsets_from(model.offset_transition.as_written(features))
    return DEKROutputs(heatmaps, offsets)


def heatmaps(
    model: DEKR, outputs: DEKROutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return each image's people, the maps of keypoints and centres, and those of each person.

    A person's map of a keypoint is the heatmap around the regressed keypoint, which is scored
    there.
    """
    maps = outputs.heatmaps.float().clamp(0, 1)
    size = (maps.shape[-2], maps.shape[-1])
    explained = []
    for predictions, own, to_image in zip(
        model.decode(outputs, geometry), maps, geometry.to_image, strict=True
    ):
        matrix = to_image.to(predictions.keypoints)
        pixels = (predictions.keypoints - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T
        [cells] = to_device([pixels / STRIDE], own.device)
        constant = cells.new_ones(len(cells))
        near = gaussian_heatmaps(
            cells, torch.ones_like(cells[..., 0], dtype=torch.bool), size,
            radius=REACH * constant, sigma=SIGMA * constant,
        )  # fmt: skip
        # Figures place a cell by its centre, but a cell lies on its first pixel.
        to_corner = to_image.clone()
        to_corner[:, 2] -= to_image[:, :2].sum(1) * STRIDE / 2
        scene = {"keypoints": own[:-1].amax(0), "centre": own[-1]}
        explained.append((predictions, Heatmaps(scene, near * own[:-1], STRIDE, to_corner)))
    return explained


def ideal_outputs(model: DEKR, batch: Batch) -> DEKROutputs:
    """Return the training targets of the batch's people."""
    height, width = (side // STRIDE for side in batch.images.shape[-2:])
    everywhere = torch.ones(len(batch), 1, height, width, dtype=torch.bool, device=batch.device)
    people = moved(find_people(batch, model.config.min_person_area), batch.device)
    targets = build_targets(people, (height, width), everywhere, model.config.centre_sigma)
    return DEKROutputs(targets.heatmaps, targets.offsets)


def graph_outputs(
    model: DEKR, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return the heatmaps (B, K + 1, H, W) and the offsets (B, 2 K, H, W)."""
    outputs: DEKROutputs = model(images)
    return {"heatmaps": outputs.heatmaps, "offsets": outputs.offsets}


def restored(model: DEKR, tensors: Named, size: tuple[int, int]) -> DEKROutputs:
    """Return the outputs that a runtime has computed."""
    return DEKROutputs(tensors["heatmaps"], tensors["offsets"])


PROFILE = Profile(
    graph=Graph(graph_outputs, restored),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    stages=stages,
    as_written=as_written,
)
