"""Group Pose's profile: what benchmarks, figures and the oracle need to know."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.errors import ModelError
from posebench.layers.affine import apply
from posebench.layers.deformable import DeformableAttention
from posebench.layers.matching import PERSON
from posebench.layers.precision import to_float32
from posebench.layers.pyramid import STRIDE
from posebench.layers.sampling import Sizes
from posebench.layers.set_decoding import ideal_people
from posebench.models.graph import Graph, Named
from posebench.models.group_pose.decoder import DecoderLayer
from posebench.models.group_pose.decoding import GroupPoseOutputs, View, decode_people
from posebench.models.group_pose.model import GroupPose
from posebench.models.profile import Profile
from posebench.preprocess import scaled_batches
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    Inference,
    PaperTiming,
    PosePredictions,
    Sample,
    Trace,
)


def heatmaps(
    model: GroupPose, outputs: GroupPoseOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return the score of each token as a proposal, and the attention of each person's queries."""
    if not outputs.views:
        raise ModelError(
            "An exported Group Pose returns people without the attention that --heatmaps draws: "
            "name the run or the checkpoint that it was exported from."
        )
    grid = outputs.views[0].tokens.sizes[0]
    counts = [view.references.shape[2] for view in outputs.views]
    explained = []
    decoded = decode_people(outputs, geometry, model.skeleton)
    for image, (predictions, chosen) in enumerate(decoded):
        people = torch.zeros(len(chosen), len(model.skeleton), *grid, device=chosen.device)
        for view, start in zip(outputs.views, accumulate(counts, initial=0), strict=False):
            of_view = (chosen >= start) & (chosen < start + view.references.shape[2])
            in_view = chosen[of_view] - start
            people[of_view] = _keypoint_attention(model, view, image, in_view, grid)
        first = outputs.views[0]
        scores = to_float32(first.token_logits[image, :, PERSON]).sigmoid()
        scene = {"proposals": _level_maps(scores, first.tokens.sizes).amax(0)}
        maps = Heatmaps(scene, people, STRIDE, geometry.to_image[image])
        explained.append((predictions, maps))
    return explained


def _keypoint_attention(
    model: GroupPose, view: View, image: int, chosen: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Return the last layer's attention of M chosen people's keypoint queries.

    Args:
        model: whose last decoder layer is read.
        view: of the images.
        image: its index in the batch.
        chosen: (M,) indices of the people among the view's N.
        grid: H, W of the maps.

    Returns:
        (M, K, *grid), each map's highest value 1.
    """
    layer = model.decoder[-1]
    assert isinstance(layer, DecoderLayer)
    references = model.query_points(view.references[-2, image, chosen][None])[0]  # (M, T, 2)
    extents = view.tokens.extents[min(image, len(view.tokens.extents) - 1)]
    heat = _attention_maps(
        layer.cross_attn, view.queries[image, chosen], references * extents[:, None, None],
        view.tokens.sizes, grid,
    )  # fmt: skip
    if model.config.has_keypoints:
        heat = heat[:, int(model.config.has_instance) :]
    else:
        heat = heat.expand(-1, len(model.skeleton), -1, -1)
    return heat.flip(-1)[:, list(model.skeleton.flip_index)] if view.mirrored else heat


def _attention_maps(
    attention: DeformableAttention,
    queries: Tensor,
    centres: Tensor,
    sizes: Sizes,
    grid: tuple[int, int],
) -> Tensor:
    """Return the sum of attention weights by cell of M people's T queries.

    Args:
        attention: the module that predicts the weights.
        queries: (M, T, C).
        centres: (L, M, T, 2) x, y of the references, in cells of each level.
        sizes: of the levels.
        grid: H, W of the maps, to which coarser levels are enlarged.

    Returns:
        (M, T, *grid), summed over heads and levels, each map's highest value 1.
    """
    offsets, weights = attention.offsets_and_weights(queries)
    heat = torch.zeros(*queries.shape[:2], *grid, device=queries.device)
    for level, (height, width) in enumerate(sizes):
        points = centres[level][:, :, None, None] + offsets[:, :, :, level]
        x, y = points.floor().long().unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        cells = torch.where(inside, y * width + x, 0).flatten(2)
        amounts = (weights[:, :, :, level] * inside).flatten(2).to(heat)
        sums = heat.new_zeros(*queries.shape[:2], height * width).scatter_add(2, cells, amounts)
        level_map = sums.view(*queries.shape[:2], height, width)
        heat += F.interpolate(level_map, grid, mode="bilinear", align_corners=False)
    return heat / heat.amax((2, 3), keepdim=True).clamp(min=1e-6)


def _level_maps(values: Tensor, sizes: Sizes) -> Tensor:
    """Return tokens' values (S,) as maps (L, H, W), each level enlarged to the finest."""
    areas = [height * width for height, width in sizes]
    grid = list(sizes[0])
    return torch.cat(
        [
            F.interpolate(part.view(1, 1, *size), grid, mode="nearest")[0]
            for part, size in zip(torch.split(values, areas), sizes, strict=True)
        ]
    )


def trace(
    model: GroupPose, sample: Sample, inference: Inference, most: int
) -> tuple[PosePredictions, Trace]:
    """Return an image's people, their references before and after each layer, and Fig. 6's maps.

    Args:
        model: in evaluation mode.
        sample: the image.
        inference: its size; mirrored images and scales are ignored.
        most: number of people, the best first, with a map of the norm of their score's gradient by
            each pixel.
    """
    single_view = replace(inference, flip=False, scales=(1.0,))
    [(_, [batch])] = scaled_batches([sample], single_view)
    batch = model.ready(batch)
    images = batch.images.requires_grad_()
    with torch.enable_grad():
        outputs: GroupPoseOutputs = model(images)
        [(predictions, chosen)] = decode_people(outputs, batch.geometry, model.skeleton)
        norms = []
        for person in chosen[:most].tolist():
            score = outputs.logits[-1, 0, person, PERSON].sigmoid()
            [gradient] = torch.autograd.grad(score, images, retain_graph=True)
            norms.append(gradient[0].norm(dim=0))
    reliance = torch.stack(norms) if norms else images.new_zeros(0, *images.shape[-2:])
    matrix, size = batch.geometry.to_image[0], batch.geometry.sizes[0]
    steps = outputs.views[0].references[:, 0, chosen].transpose(0, 1)  # (M, D + 1, K, 2)
    return (
        PosePredictions(
            predictions.keypoints.detach(),
            predictions.keypoint_scores.detach(),
            predictions.scores.detach(),
        ),
        Trace(
            steps=apply(steps.detach() * size, matrix.to(steps)),
            reliance=reliance / reliance.amax((1, 2), keepdim=True).clamp(min=1e-12),
            to_image=matrix,
        ),
    )


def ideal_outputs(model: GroupPose, batch: Batch) -> GroupPoseOutputs:
    """Return the annotated people as confident predictions."""
    logits, keypoints = ideal_people(
        model.targets(batch), model.config.instances, len(model.skeleton)
    )
    return GroupPoseOutputs(logits[None], keypoints[None], logits, keypoints)


def graph_outputs(
    model: GroupPose, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return the last layer's logits (B, N, 2) and keypoints (B, N, K, 2)."""
    outputs: GroupPoseOutputs = model(images, padding)
    return {"logits": outputs.logits[-1], "keypoints": outputs.keypoints[-1]}


def restored(model: GroupPose, tensors: Named, size: tuple[int, int]) -> GroupPoseOutputs:
    """Return the outputs that a runtime has computed, without the network's inner values."""
    logits, keypoints = tensors["logits"], tensors["keypoints"]
    return GroupPoseOutputs(logits[None], keypoints[None], logits, keypoints)


PROFILE = Profile(
    graph=Graph(graph_outputs, restored, reads_padding=True, slots=("keypoints", "logits")),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    trace=trace,
    paper_timing=PaperTiming("Table 6 and Sec. A.1", sizes=((480, 800), (800, 1333))),
)
