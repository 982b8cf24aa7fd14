"""CID's profile: timed stages, alternatives that it is compared with, pictures and upper bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from posebench.layers.backbones.hrnet import joined, joined_at, joined_conv
from posebench.layers.heatmaps import cell_poses, clamp_scores, clamped_sigmoid
from posebench.models.cid.decoding import (
    CIDOutputs,
    centre_slots,
    decode_people,
    find_centres,
)
from posebench.models.cid.decoupling import people_per_image
from posebench.models.cid.model import CID, mean_of
from posebench.models.cid.recipes import STRIDE
from posebench.models.cid.targets import CIDTargets, build_targets
from posebench.models.graph import Graph, Named
from posebench.models.profile import Profile
from posebench.structures import Batch, Geometry, Heatmaps, PaperTiming, PosePredictions
from posebench.transfer import to_device


def stages(
    model: CID, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> Iterator[tuple[str, Any]]:
    """Yield the name and output of each component in Fig. 5a."""
    streams = model.features(images)
    yield "backbone", streams
    heatmaps, shared = model.image_maps(streams)
    yield "heatmaps", heatmaps
    [given] = [None] if people is None else to_device([people], heatmaps.device)
    centres, centre_scores = find_centres(heatmaps[:, -1], model.config.centre_pool, given)
    person_features = joined_at(streams, centres)
    yield "IIA", person_features
    counts = None if people is None else people_per_image(people, len(shared))
    instance_heatmaps = model.decoupling(shared, person_features, centres, counts)
    yield "GFD", CIDOutputs(heatmaps, centres, centre_scores, person_features, instance_heatmaps)


def as_written(
    model: CID, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> CIDOutputs:
    """Return the outputs, computed by Eqs. 7 to 12 one by one on the joined map."""
    features = joined(model.features(images))
    heatmaps = clamped_sigmoid(model.keypoint_head(features))
    people, centre_scores = find_centres(heatmaps[:, -1], model.config.centre_pool, people)
    image, y, x = people.unbind(1)
    person_features = features[image, :, y, x]
    instance_heatmaps = model.decoupling.as_written(model.reduce(features), person_features, people)
    return CIDOutputs(heatmaps, people, centre_scores, person_features, instance_heatmaps)


def given_people(model: CID, batch: Batch) -> Tensor:
    """Return the centres (M, 3) image, y, x of the annotated people."""
    return targets_without_jitter(model, batch).people


def alternatives(model: CID, batch: Batch) -> dict[str, Callable[[], Tensor]]:
    """Return the alternatives of Fig. 5b for per-person features: GFD, and RoIAlign.

    The paper does not say which map RoIAlign reads: here it reads the joined one, from which GFD
    starts, and the reduced one. GFD includes the heatmaps, RoIAlign does not.
    """
    streams = model.features(batch.images)
    people = given_people(model, batch)
    counts = people_per_image(people, len(batch))
    [people] = to_device([people], batch.device)
    joined_map = joined(streams)
    maps = {"": joined_map, " of S": model.reduce(joined_map)}
    boxes = to_device(
        [poses.boxes[:, [0, 3]].flatten(1).to(joined_map.dtype) for poses in batch.poses],
        batch.device,
    )

    def region_features(features: Tensor, side: int) -> Tensor:
        # 2 x 2 samples per bin, as in Mask R-CNN.
        regions: Tensor = roi_align(features, boxes, side, 1 / STRIDE, 2, aligned=True)
        return F.interpolate(regions, (56, 56), mode="bilinear") if side < 56 else regions

    def instance_heatmaps() -> Tensor:
        [shared] = joined_conv(streams, [model.reduce])
        scores: Tensor = model.decoupling(shared, joined_at(streams, people), people, counts)
        return scores

    timed: dict[str, Callable[[], Tensor]] = {"GFD": instance_heatmaps}
    for name, features in maps.items():
        timed[f"RoIAlign+{name}"] = partial(region_features, features, 14)
        timed[f"RoIAlign*{name}"] = partial(region_features, features, 56)
    return timed


def heatmaps(
    model: CID, outputs: CIDOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return the centre map (Fig. 3), and the instance heatmaps (Fig. 4) of the people kept."""
    return [
        (
            predictions,
            Heatmaps(
                scene={"centre": centre_map},
                people=outputs.instance_heatmaps[rows.to(outputs.instance_heatmaps.device)],
                stride=STRIDE,
                to_image=to_image,
            ),
        )
        for (predictions, rows), centre_map, to_image in zip(
            decode_people(outputs, geometry, model.skeleton, model.config),
            outputs.heatmaps[:, -1],
            geometry.to_image,
            strict=True,
        )
    ]


def ideal_outputs(model: CID, batch: Batch) -> CIDOutputs:
    """Return the training targets of the batch's people, without the jitter of centres."""
    targets = targets_without_jitter(model, batch)
    height, width = targets.heatmaps.shape[-2:]
    heatmaps = clamp_scores(targets.heatmaps)
    people, centre_scores = find_centres(heatmaps[:, -1], model.config.centre_pool)
    # A neighbour's Gaussian may move a centre by one cell. It still yields its person's heatmaps,
    # since training jitters centres by as much. A peak further from all centres, as when two merge,
    # yields none.
    [annotated_people] = to_device([targets.people], people.device)
    apart = (people[:, None] - annotated_people[None]).abs()  # (detected, annotated, 3)
    near = (apart[..., 0] == 0) & (apart[..., 1:].amax(-1) <= 1)
    distance = apart[..., 1:].sum(-1).where(near, height + width)
    instance_heatmaps = heatmaps.new_zeros(len(people), len(model.skeleton), height, width)
    if len(targets.people):
        annotated = near.any(1)
        nearest = distance.argmin(1)[annotated]
        instance_heatmaps[annotated] = targets.instance_heatmaps[nearest]
    return CIDOutputs(
        heatmaps=heatmaps,
        people=people,
        centre_scores=centre_scores,
        person_features=heatmaps.new_zeros(len(people), 0),
        instance_heatmaps=clamp_scores(instance_heatmaps),
    )


def targets_without_jitter(model: CID, batch: Batch) -> CIDTargets:
    """Return the training targets with centres in their own cells, and no masked cells."""
    height, width = (side // STRIDE for side in batch.images.shape[-2:])
    return build_targets(
        cell_poses(batch, STRIDE),
        (height, width),
        [torch.zeros(len(poses), 2, dtype=torch.int64) for poses in batch.poses],
        batch.images.new_ones(len(batch), 1, height, width, dtype=torch.bool),
        min_area=model.config.min_person_area / STRIDE**2,
    )


def graph_outputs(
    model: CID, images: Tensor, padding: Tensor | None, flip: bool
) -> dict[str, Tensor]:
    """Return the heatmaps, and 30 slots for people of each image.

    A slot with the score 0 (B, 30) is empty; the others are people with a centre (B, 30, 2) y, x in
    cells and heatmaps (B, 30, K, H, W), best first.
    """
    views = model.views(images, flip)
    heatmaps = mean_of([view.heatmaps for view in views])
    people, scores = centre_slots(heatmaps[:, -1], model.config.centre_pool)
    instance_heatmaps = []
    for view in views:
        maps = model.decoupling.slots(view.shared, joined_at(view.streams, people), people)
        instance_heatmaps.append(maps[:, :, view.keypoint_order])
    return {
        "heatmaps": heatmaps,
        "centres": people[:, 1:].view(*scores.shape, 2),
        "centre_scores": scores,
        "instance_heatmaps": mean_of(instance_heatmaps),
    }


def restored(model: CID, tensors: Named, size: tuple[int, int]) -> CIDOutputs:
    """Return the outputs that a runtime has computed, of the slots that are people."""
    scores = tensors["centre_scores"]
    found = scores > 0
    image, _ = found.nonzero().unbind(1)
    return CIDOutputs(
        heatmaps=tensors["heatmaps"],
        people=torch.cat([image[:, None], tensors["centres"][found].long()], 1),
        centre_scores=scores[found],
        person_features=scores.new_zeros(len(image), 0),  # which training alone reads
        instance_heatmaps=tensors["instance_heatmaps"][found],
    )


PROFILE = Profile(
    graph=Graph(
        graph_outputs,
        restored,
        merges_mirror=True,
        slots=("centres", "centre_scores", "instance_heatmaps"),
    ),
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    stages=stages,
    as_written=as_written,
    given_people=given_people,
    alternatives=alternatives,
    paper_timing=PaperTiming("Tables 3 and 4", square=True),
)
