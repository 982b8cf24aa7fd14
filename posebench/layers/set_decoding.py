"""People of images, decoded from sets of scored poses, and sets that are decoded to given people.

Shapes: B images, N predicted people of an image, K keypoints. Keypoints are x, y as shares of the
image without padding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posebench.layers.affine import apply
from posebench.layers.matching import PERSON
from posebench.layers.nms import oks_nms
from posebench.layers.pose_sets import PoseSets
from posebench.skeleton import Skeleton
from posebench.structures import Geometry, PosePredictions
from posebench.transfer import moved, to_device, to_host

POSES_KEPT = 50  # of an image, at test time
SAME_PERSON = 0.7  # OKS above which poses of two views are one person; ours, for several views only
VISIBILITY = 1.0 / (1.0 + math.exp(-1.0))  # the published score of every keypoint


def merge_views(outputs: Sequence[Any], people_axes: Mapping[str, int]) -> Any:
    """Return the predictions of several views of the same images as one set.

    Args:
        outputs: dataclasses with `views` and `merged`, of one view each.
        people_axes: their predictions -> the axis along which people lie.
    """
    if len(outputs) == 1:
        return outputs[0]
    predictions = {
        name: torch.cat([getattr(one, name) for one in outputs], axis)
        for name, axis in people_axes.items()
    }
    views = tuple(view for one in outputs for view in one.views)
    return replace(outputs[0], **predictions, views=views, merged=len(outputs))


def decode_people(
    outputs: Any, geometry: Geometry, skeleton: Skeleton
) -> list[tuple[PosePredictions, Tensor]]:
    """Return `decode_set` of the last layer's logits and keypoints."""
    return decode_set(outputs.logits[-1], outputs.keypoints[-1], geometry, skeleton, outputs.merged)


def decode_set(
    logits: Tensor, keypoints: Tensor, geometry: Geometry, skeleton: Skeleton, views: int = 1
) -> list[tuple[PosePredictions, Tensor]]:
    """Return each image's people, best first, and their indices among the N predictions.

    Both are on the CPU.

    Args:
        logits: (B, N, 2).
        keypoints: (B, N, K, 2).
        geometry: of the images.
        skeleton: of the keypoints.
        views: number of views of each image that the predictions are of.
    """
    logits, keypoints = to_host([logits, keypoints])
    decoded = []
    images = zip(logits, keypoints, geometry.sizes, geometry.to_image, strict=True)
    for own_logits, own_keypoints, size, to_image in images:
        scores, labels, chosen = best_poses(own_logits, views)
        # A score is exactly 0 only where ideal outputs are filled up.
        is_person = (labels == PERSON) & (scores > 0)
        scores, chosen = scores[is_person], chosen[is_person]
        pixels = own_keypoints[chosen] * size.to(own_keypoints)
        pixels = apply(pixels, to_image.to(own_keypoints))
        if views > 1:
            sigmas = torch.tensor(skeleton.sigmas).to(pixels)
            keep = oks_nms(pixels, scores, sigmas, SAME_PERSON)[:POSES_KEPT]
            pixels, scores, chosen = pixels[keep], scores[keep], chosen[keep]
        keypoint_scores = torch.full_like(pixels[..., 0], VISIBILITY)
        decoded.append((PosePredictions(pixels, keypoint_scores, scores), chosen))
    return decoded


def best_poses(logits: Tensor, views: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores, labels and query indices of the best entries of logits (N, 2), best first.

    As published, every entry competes: a query may appear twice, once as a person and once with
    label 0, which is no class.

    Args:
        logits: of one image.
        views: `POSES_KEPT` entries are returned for each.
    """
    scores, entries = logits.sigmoid().flatten().sort(descending=True, stable=True)
    kept = entries[: views * POSES_KEPT]
    return scores[: len(kept)], kept % 2, kept // 2


def mirrored_back(points: Tensor, geometry: Geometry) -> Tensor:
    """Return points (..., B, N, K, 2) of mirrored images as shares of the images themselves.

    Their order is kept: left keypoints are to be exchanged with right ones.
    """
    # Pixel x of an image lies at w - 1 - x of its mirror image.
    edge = (1 - 1 / geometry.sizes[:, 0])[:, None, None].to(points.dtype)
    [edge] = to_device([edge], points.device)
    x, y = points.unbind(-1)
    return torch.stack([edge - x, y], -1)


def ideal_people(targets: PoseSets, most: int, keypoints: int) -> tuple[Tensor, Tensor]:
    """Return the annotated people as confident predictions: logits (B, N, 2), and (B, N, K, 2).

    Keypoints that are not labelled lie at the mean of the person's labelled ones.

    Args:
        targets: of the images.
        most: people that the network predicts.
        keypoints: K.
    """
    device = targets.area[0].device
    targets = moved(targets, torch.device("cpu"))
    people = max((len(area) for area in targets.area), default=0)
    shape = (len(targets.area), min(people, most))
    logits = torch.full((*shape, 2), -torch.inf)
    poses = torch.full((*shape, keypoints, 2), 0.5)
    for image, (truth, visible) in enumerate(zip(targets.keypoints, targets.visible, strict=True)):
        count = min(len(truth), shape[1])
        labelled = visible[:count, :, None]
        mean = (truth[:count] * labelled).sum(1, keepdim=True) / labelled.sum(1, keepdim=True)
        logits[image, :count, PERSON] = 10.0
        poses[image, :count] = torch.where(labelled, truth[:count], mean)
    logits, poses = to_device([logits, poses], device)
    return logits, poses
