"""ED-Pose's matching of predictions to people: by boxes in box layers, by keypoints in pose layers.

Shapes: B images, M predictions of an image, P people of one image, K keypoints, R sets of
predictions for the same image. Boxes are centre x, y, width, height as shares of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert

from posebench.layers.matching import PERSON, focal_cost, keypoint_costs, pairs_on_cpu
from posebench.layers.pose_sets import PoseSets
from posebench.models.ed_pose.recipes import PUBLISHED, Weights
from posebench.transfer import to_device


@dataclass(frozen=True)
class Matches:
    """Pairs (T,) of a prediction and a person, in R sets of predictions for B images."""

    sets: Tensor
    images: Tensor
    queries: Tensor
    people: Tensor  # among those of all images, one image after the other


def match(groups: Sequence[Sequence[Tensor]]) -> list[Matches]:
    """Return the assignments of least total cost.

    All costs go to the CPU at once, and all matches back: each copy waits for the device.

    Args:
        groups: of sets with equally many predictions; costs (R, M, P) of each image.

    Returns:
        The matches of each group.

    Source: DETR (arXiv:2005.12872), Eq. 1.
    """
    pairs = iter(pairs_on_cpu([costs for group in groups for costs in group]))
    found = []
    for group in groups:
        own = [np.zeros((4, 0), np.int64)]
        people_before = 0
        for image, costs in enumerate(group):
            for index, (queries, people) in enumerate(next(pairs)):
                where = np.broadcast_to([[index], [image]], (2, len(queries)))
                own.append(np.concatenate([where, [queries, people_before + people]]))
            people_before += costs.shape[-1]
        found.append(np.concatenate(own, 1))
    [indices] = to_device([torch.from_numpy(np.concatenate(found, 1))], groups[0][0].device)
    return [Matches(*part) for part in torch.split(indices, [own.shape[1] for own in found], 1)]


def box_costs(logits: Tensor, boxes: Tensor, truth: Tensor, weights: Weights = PUBLISHED) -> Tensor:
    """Return the costs (R, M, P) of matching each box to each person of one image.

    Args:
        logits: (R, M, 2).
        boxes: (R, M, 4).
        truth: (P, 4), the annotated boxes.
        weights: of the costs.
    """
    logits, boxes = logits.detach(), boxes.detach()
    pairs = boxes[:, :, None]
    return (
        weights.classes * focal_cost(logits[..., PERSON, None])
        + weights.boxes * (pairs - truth).abs().sum(-1)
        - weights.iou * generalized_iou(pairs, truth)
    )


def pose_costs(
    logits: Tensor,
    keypoints: Tensor,
    targets: PoseSets,
    image: int,
    sigmas: Tensor,
    weights: Weights = PUBLISHED,
) -> Tensor:
    """Return the costs (R, N, P) of matching each pose to each person of one image.

    Boxes do not count, although the matched ones are trained too.

    Args:
        logits: (R, N, 2).
        keypoints: (R, N, K, 2).
        targets: of all images.
        image: index of this one.
        sigmas: (K,) of the skeleton.
        weights: of the costs.
    """
    distance, oks = keypoint_costs(
        keypoints.detach(),
        targets.keypoints[image],
        targets.visible[image],
        targets.area[image],
        sigmas,
    )
    scores = focal_cost(logits.detach()[..., PERSON, None])
    return weights.classes * scores + weights.keypoints * distance + weights.oks * oks


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the generalised IoU (...) of boxes (..., 4), whose leading dimensions broadcast.

    Source: GIoU (arXiv:1902.09630); as published, 1e-6 is added to the areas of union and hull.
    """
    one, other = (box_convert(each, "cxcywh", "xyxy") for each in (boxes, others))
    lowest, highest = torch.minimum(one, other), torch.maximum(one, other)
    shared = (lowest[..., 2:] - highest[..., :2]).clamp(min=0).prod(-1)
    hull = (highest[..., 2:] - lowest[..., :2]).prod(-1)
    union = boxes[..., 2:].prod(-1) + others[..., 2:].prod(-1) - shared
    return shared / (union + 1e-6) - (hull - union) / (hull + 1e-6)
