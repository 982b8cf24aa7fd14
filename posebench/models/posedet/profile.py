"""PoseDet's profile: what benchmarks, figures and the oracle need to know."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.layers.heatmaps import gaussian_heatmaps
from posebench.models.graph import Graph, Named
from posebench.models.posedet.decoding import PoseDetOutputs
from posebench.models.posedet.model import PoseDet
from posebench.models.posedet.targets import assign_nearest, candidate_grid, rows_to_maps
from posebench.models.profile import Profile
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PaperTiming,
    PosePredictions,
    Poses,
)
from posebench.transfer import moved

_OUTPUTS = ("logits", "coarse", "refined")
IDEAL_LOGIT = 20.0  # of an assigned candidate; all others have -IDEAL_LOGIT


def as_written(
    model: PoseDet, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> PoseDetOutputs:
    """Return the outputs with every candidate refined, as in the paper."""
    return model.heads(model.features(images), refine_all=True)


def heatmaps(
    model: PoseDet, outputs: PoseDetOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return each image's people, with a map of scores and maps of their coarse keypoints.

    The scene has each cell's highest score over the levels. A person has a Gaussian at each coarse
    keypoint, where the pose embedding was sampled: intermediate heatmaps exist in training only.
    """
    stride, size = model.strides[0], tuple(outputs.logits[0].shape[-2:])
    scores = torch.stack(
        [F.interpolate(level.float().sigmoid(), size)[:, 0] for level in outputs.logits]
    ).amax(0)
    explained = []
    for (predictions, coarse), score, to_image in zip(
        model.decode_with_coarse(outputs, geometry), scores, geometry.to_image, strict=True
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
        # Figures place a cell by its centre, but a candidate lies at its cell's corner.
        to_corner = to_image.clone()
        to_corner[:, 2] -= to_image[:, :2].sum(1) * stride / 2
        explained.append((predictions, Heatmaps({"score": score}, people, stride, to_corner)))
    return explained


def ideal_outputs(model: PoseDet, batch: Batch) -> PoseDetOutputs:
    """Return outputs in which the candidate assigned to a person has the person's exact pose.

    People with fewer labelled keypoints than training requires are assigned a candidate too. An
    unlabelled keypoint is put at the mean of the person's labelled ones.
    """
    sizes = model.level_sizes(batch)
    grid = candidate_grid(sizes, model.strides, torch.zeros(()))
    logits, offsets = [], []
    for poses in map(_with_all_keypoints, model.people(batch)):
        person = assign_nearest(
            poses,
            sizes,
            model.strides,
            model.config.centroid,
            min_labelled=1,
            person_cells=model.config.person_cells,
        )
        assigned = (person >= 0).nonzero()[:, 0]
        xy = torch.zeros(len(grid.points), poses.keypoints.shape[1], 2)
        away = poses.keypoints[person[assigned]].float() - grid.points[assigned, None]
        xy[assigned] = away / grid.stride[assigned, None, None]
        offsets.append(xy.flip(-1).flatten(1))
        logits.append(torch.where(person >= 0, IDEAL_LOGIT, -IDEAL_LOGIT)[:, None])
    joined_logits, joined_offsets = moved((torch.stack(logits), torch.stack(offsets)), batch.device)
    maps = rows_to_maps(joined_offsets, sizes)
    return PoseDetOutputs(rows_to_maps(joined_logits, sizes), maps, maps)


def _with_all_keypoints(poses: Poses) -> Poses:
    """Return poses whose unlabelled keypoints lie at the mean of their labelled ones."""
    labelled = (poses.visibility > 0)[..., None]
    count = labelled.sum(1, keepdim=True).clamp(min=1)
    mean = (poses.keypoints * labelled).sum(1, keepdim=True) / count
    return replace(poses, keypoints=poses.keypoints.where(labelled, mean))


def graph_outputs(
    model: PoseDet, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return each level's logits and offsets; all candidates are refined, as in the paper."""
    outputs = model.heads(model.features(images), refine_all=True)
    named: dict[str, Tensor] = {}
    for name in _OUTPUTS:
        levels = zip(model.strides, getattr(outputs, name), strict=True)
        named |= {f"{name}_{stride}": maps for stride, maps in levels}
    return named


def restored(model: PoseDet, tensors: Named, size: tuple[int, int]) -> PoseDetOutputs:
    """Return the outputs that a runtime has computed."""
    logits, coarse, refined = (
        tuple(tensors[f"{name}_{stride}"] for stride in model.strides) for name in _OUTPUTS
    )
    return PoseDetOutputs(logits, coarse, refined)


PROFILE = Profile(
    graph=Graph(graph_outputs, restored),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    as_written=as_written,
    # The paper mentions a CPU along with its GPU, so we assume that its times include suppression.
    paper_timing=PaperTiming("Sec. 4.1 and Table 1", decoded=True),
)
