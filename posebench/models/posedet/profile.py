"""PoseDet as clocks, counters, pictures and upper bounds see it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.layers.heatmaps import gaussian_heatmaps
from posebench.models.posedet.candidates import (
    assign_nearest,
    candidate_grid,
)
from posebench.models.posedet.model import (
    SURE,
    PoseDet,
    PoseDetOutputs,
    _as_maps,
    _completed,
)
from posebench.models.profile import Profile
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PaperTiming,
    PosePredictions,
)


def as_written(
    model: PoseDet, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> PoseDetOutputs:
    return model.heads_everywhere(model.features(images))


def heatmaps(
    model: PoseDet, outputs: PoseDetOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return the best score near each place, and where each person's embedding was sampled.

    The intermediate heatmaps are not made outside of training.
    """
    stride, size = model.strides[0], tuple(outputs.logits[0].shape[-2:])
    scores = torch.stack(
        [F.interpolate(level.float().sigmoid(), size)[:, 0] for level in outputs.logits]
    ).amax(0)
    explained = []
    for (predictions, coarse), score, to_image in zip(
        model._decode(outputs, geometry), scores, geometry.to_image, strict=True
    ):
        matrix = to_image.to(coarse)
        cells = (coarse - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T / stride
        constant = cells.new_ones(len(cells))
        people = gaussian_heatmaps(
            cells[:, : len(model.skeleton)],
            torch.ones_like(cells[:, : len(model.skeleton), 0], dtype=torch.bool),
            (size[0], size[1]),
            radius=3 * constant,
            sigma=constant,
        )
        # A drawing puts cells at their centres; candidates lie at their corners.
        to_corner = to_image.clone()
        to_corner[:, 2] -= to_image[:, :2].sum(1) * stride / 2
        explained.append((predictions, Heatmaps({"score": score}, people, stride, to_corner)))
    return explained


def ideal_outputs(model: PoseDet, batch: Batch) -> PoseDetOutputs:
    """Return a sure candidate with the exact pose for everybody who is given one in training.

    Also for those with few keypoints, whom training leaves out. A keypoint without a label lies
    in the middle of its person's others.
    """
    sizes = model._sizes(batch)
    stride, points = candidate_grid(sizes, model.strides, torch.zeros(()))
    logits, offsets = [], []
    for poses in map(_completed, model._people(batch)):
        person = assign_nearest(
            poses,
            sizes,
            model.strides,
            model.config.centroid,
            min_labelled=1,
            person_cells=model.config.person_cells,
        )
        chosen = (person >= 0).nonzero()[:, 0]
        xy = torch.zeros(len(points), poses.keypoints.shape[1], 2)
        away = poses.keypoints[person[chosen]].float() - points[chosen, None]
        xy[chosen] = away / stride[chosen, None, None]
        offsets.append(xy.flip(-1).flatten(1))
        logits.append(torch.where(person >= 0, SURE, -SURE)[:, None])
    maps = _as_maps(torch.stack(offsets), sizes)
    return PoseDetOutputs(_as_maps(torch.stack(logits), sizes), maps, maps)


PROFILE = Profile(
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    as_written=as_written,
    paper_timing=PaperTiming("Sec. 4.1 and Table 1", decoded=True),
)
