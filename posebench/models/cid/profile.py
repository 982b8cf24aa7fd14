"""CID as clocks, counters, pictures and upper bounds see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from posebench.layers.backbones.hrnet import joined, joined_at, joined_conv
from posebench.layers.heatmaps import (
    clamp_scores,
    clamped_sigmoid,
)
from posebench.models.cid.model import (
    CID,
    STRIDE,
    CIDOutputs,
    find_centres,
)
from posebench.models.profile import Profile
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PaperTiming,
    PosePredictions,
)


def stages(
    model: CID, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> Iterator[tuple[str, Any]]:
    """Yield the components of Fig. 5a."""
    streams = model.features(images)
    yield "backbone", streams
    yield from model.head_stages(streams, people)


def as_written(
    model: CID, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> CIDOutputs:
    """Take Eqs. 7 to 12 one by one on the joined map."""
    features = joined(model.features(images))
    heatmaps = clamped_sigmoid(model.keypoint_head(features))
    people, centre_scores = find_centres(heatmaps[:, -1], model.config.centre_pool, people)
    image, y, x = people.unbind(1)
    person_features = features[image, :, y, x]
    instance_heatmaps = model.decoupling.as_written(model.reduce(features), person_features, people)
    return CIDOutputs(heatmaps, people, centre_scores, person_features, instance_heatmaps)


def given_people(model: CID, batch: Batch) -> Tensor:
    return model._exact_targets(batch).people


def alternatives(model: CID, batch: Batch) -> dict[str, Callable[[], Tensor]]:
    """Return the ways of Fig. 5b to features of everyone: GFD, and regions of a map.

    The paper does not say of which map: here the joined one, as GFD starts from it, and the
    reduced one. GFD goes further than regions do, to the heatmaps.
    """
    streams = model.features(batch.images)
    people = given_people(model, batch)
    joined_map = joined(streams)
    maps = {"": joined_map, " of S": model.reduce(joined_map)}
    boxes = [poses.boxes[:, [0, 3]].flatten(1).to(joined_map) for poses in batch.poses]

    def regions(features: Tensor, side: int) -> Tensor:
        # Two samples each way in a bin, as in Mask R-CNN.
        found: Tensor = roi_align(features, boxes, side, 1 / STRIDE, 2, aligned=True)
        return F.interpolate(found, (56, 56), mode="bilinear") if side < 56 else found

    def decoupled() -> Tensor:
        [shared] = joined_conv(streams, [model.reduce])
        found: Tensor = model.decoupling(shared, joined_at(streams, people), people)
        return found

    ways: dict[str, Callable[[], Tensor]] = {"GFD": decoupled}
    for name, features in maps.items():
        ways[f"RoIAlign+{name}"] = partial(regions, features, 14)
        ways[f"RoIAlign*{name}"] = partial(regions, features, 56)
    return ways


def heatmaps(
    model: CID, outputs: CIDOutputs, geometry: Geometry
) -> list[tuple[PosePredictions, Heatmaps]]:
    """Return the centre map (Fig. 3) and the instance maps of everyone kept (Fig. 4)."""
    return [
        (
            predictions,
            Heatmaps(
                scene={"centre": centre_map},
                people=outputs.instance_heatmaps[keep],
                stride=STRIDE,
                to_image=to_image,
            ),
        )
        for (predictions, keep), centre_map, to_image in zip(
            model._decode(outputs, geometry),
            outputs.heatmaps[:, -1],
            geometry.to_image,
            strict=True,
        )
    ]


def ideal_outputs(model: CID, batch: Batch) -> CIDOutputs:
    """Return the training targets of the batch's people, without the jitter of centres."""
    targets = model._exact_targets(batch)
    height, width = targets.heatmaps.shape[-2:]
    heatmaps = clamp_scores(targets.heatmaps)
    people, centre_scores = find_centres(heatmaps[:, -1], model.config.centre_pool)
    # Centres are jittered by a cell in training, so a centre that its neighbour's Gaussian
    # moved by one still yields its person; one that merged with its neighbour's does not.
    apart = (people[:, None] - targets.people[None]).abs()  # (detected, annotated, 3)
    near = (apart[..., 0] == 0) & (apart[..., 1:].amax(-1) <= 1)
    distance = apart[..., 1:].sum(-1).where(near, height + width)
    instance_heatmaps = heatmaps.new_zeros(len(people), len(model.skeleton), height, width)
    if len(targets.people):
        own = near.any(1)
        instance_heatmaps[own] = targets.instance_heatmaps[distance.argmin(1)[own]]
    return CIDOutputs(
        heatmaps=heatmaps,
        people=people,
        centre_scores=centre_scores,
        person_features=heatmaps.new_zeros(len(people), 0),
        instance_heatmaps=clamp_scores(instance_heatmaps),
    )


PROFILE = Profile(
    ideal_outputs=ideal_outputs,
    heatmaps=heatmaps,
    stages=stages,
    as_written=as_written,
    given_people=given_people,
    alternatives=alternatives,
    paper_timing=PaperTiming("Tables 3 and 4", square=True),
)
