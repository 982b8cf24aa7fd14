"""Group Pose as clocks, counters, pictures and upper bounds see it."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import torch

from posebench.files import PERSON
from posebench.layers.affine import apply
from posebench.layers.deformable import (
    level_maps,
)
from posebench.layers.precision import to_float32
from posebench.models.group_pose.model import (
    STRIDE,
    GroupPose,
    GroupPoseOutputs,
)
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
    """Return how much each token proposes a person, and where each person's queries look."""
    grid = outputs.views[0].tokens.sizes[0]
    counts = [view.references.shape[2] for view in outputs.views]
    explained = []
    for image, (predictions, chosen) in enumerate(model._decode(outputs, geometry)):
        people = torch.zeros(len(chosen), len(model.skeleton), *grid, device=chosen.device)
        for view, start in zip(outputs.views, accumulate(counts, initial=0), strict=False):
            own = (chosen >= start) & (chosen < start + view.references.shape[2])
            people[own] = model._looked_at(view, image, chosen[own] - start, grid)
        first = outputs.views[0]
        scores = to_float32(first.token_logits[image, :, PERSON]).sigmoid()
        scene = {"proposals": level_maps(scores, first.tokens.sizes).amax(0)}
        maps = Heatmaps(scene, people, STRIDE, geometry.to_image[image])
        explained.append((predictions, maps))
    return explained


def trace(
    model: GroupPose, sample: Sample, inference: Inference, most: int
) -> tuple[PosePredictions, Trace]:
    """Return the references before and after each layer, and the scores' gradients (Fig. 6)."""
    once = replace(inference, flip=False, scales=(1.0,))
    [(_, [batch])] = scaled_batches([sample], once)
    batch = model.ready(batch)
    images = batch.images.requires_grad_()
    with torch.enable_grad():
        outputs: GroupPoseOutputs = model(images)
        [(predictions, chosen)] = model._decode(outputs, batch.geometry)
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
    """Return the annotated people as queries that are sure; keypoints not labelled lie amid."""
    targets = model.targets(batch)
    most = max((len(area) for area in targets.area), default=0)
    shape = (len(batch), min(most, model.config.instances))
    logits = torch.full((*shape, 2), -torch.inf)
    keypoints = torch.full((*shape, len(model.skeleton), 2), 0.5)
    for image, (own, visible) in enumerate(zip(targets.keypoints, targets.visible, strict=True)):
        count = min(len(own), shape[1])
        seen = visible[:count, :, None]
        middle = (own[:count] * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True)
        logits[image, :count, PERSON] = 10.0
        keypoints[image, :count] = torch.where(seen, own[:count], middle)
    return GroupPoseOutputs(logits[None], keypoints[None], logits, keypoints)


PROFILE = Profile(
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    trace=trace,
    paper_timing=PaperTiming("Table 6 and Sec. A.1", sizes=((480, 800), (800, 1333))),
)
