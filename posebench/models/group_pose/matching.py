"""Predicted sets and true ones: who is matched to whom, and at which loss.

Shapes: N predictions, P people of one image, K keypoints, T sets of predictions for the same image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.distributed import mean_count
from posebench.layers.matching import PERSON, assignment, focal_cost, focal_loss
from posebench.layers.oks import keypoint_similarity
from posebench.models.group_pose.recipes import PUBLISHED, Weights


@dataclass(frozen=True)
class PoseSets:
    """The labelled people of each image, in shares of its width and height."""

    keypoints: list[Tensor]  # (P, K, 2) as shares of the image, float32
    visible: list[Tensor]  # (P, K) bool
    area: list[Tensor]  # (P,) as shares of the image's
    boxes: list[Tensor]  # (P, 4) centre x, y, width, height as shares of the image

    def __len__(self) -> int:
        return sum(len(area) for area in self.area)


@dataclass(frozen=True)
class SetLosses:
    """Unweighted losses (R,) of R sets of predictions: the encoder's, then each layer's."""

    classes: Tensor
    keypoints: Tensor
    oks: Tensor


def set_losses(
    logits: Tensor,
    keypoints: Tensor,
    targets: PoseSets,
    sigmas: Tensor,
    weights: Weights = PUBLISHED,
) -> SetLosses:
    """Match every set of predictions to the people of its image, and compare the two.

    Args:
        logits: (R, B, N, 2).
        keypoints: (R, B, N, K, 2).
        sigmas: (K,) of the skeleton.
        weights: of the costs by which predictions and people are matched.

    Source: Group Pose (ICCV 2023), Sec. 3.1, and its published code: all three are divided by the
    number of people, the distance of keypoints too.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    logits, keypoints, sigmas = logits.to(dtype), keypoints.to(dtype), sigmas.to(dtype)
    rounds = torch.arange(len(logits), device=logits.device)
    people = mean_count(len(targets), logits.device)
    is_person = torch.zeros_like(logits)
    # Times zero, so that everything has a gradient also where nobody is.
    distance = oks_loss = 0 * keypoints.sum((1, 2, 3, 4))
    images = zip(targets.keypoints, targets.visible, targets.area, strict=True)
    for image, (truth, visible, area) in enumerate(images):
        truth, area = truth.to(dtype), area.to(dtype)
        costs = pose_costs(
            logits[:, image], keypoints[:, image], truth, visible, area, sigmas, weights
        )
        for number, (chosen, person) in enumerate(assignment(costs)):
            is_person[number, image, chosen, PERSON] = 1
            found = keypoints[number, image, chosen]  # (P, K, 2)
            apart = (found - truth[person]).abs() * visible[person][..., None]
            similarity = keypoint_similarity(
                (found - truth[person]).square().sum(-1), area[person], sigmas
            )
            own = (similarity * visible[person]).sum(1) / visible[person].sum(1).clamp(min=1)
            here = rounds == number
            distance = distance + apart.sum() * here
            oks_loss = oks_loss + (1 - own).sum() * here
    classes = focal_loss(logits, is_person).sum((1, 2, 3))
    return SetLosses(classes / people, distance / people, oks_loss / people)


def pose_costs(
    logits: Tensor,
    keypoints: Tensor,
    truth: Tensor,
    visible: Tensor,
    area: Tensor,
    sigmas: Tensor,
    weights: Weights = PUBLISHED,
) -> Tensor:
    """Return what it costs to take each prediction for each person of one image, (R, N, P).

    Args:
        logits: (R, N, 2).
        keypoints: (R, N, K, 2).
        truth: (P, K, 2).
        visible: (P, K) bool.
        area: (P,).
        sigmas: (K,).
    """
    logits, keypoints = logits.detach(), keypoints.detach()
    apart = keypoints[:, :, None] - truth  # (R, N, P, K, 2)
    distance = (apart.abs() * visible[..., None]).sum((-1, -2))
    similarity = keypoint_similarity(apart.square().sum(-1), area, sigmas) * visible
    oks = similarity.sum(-1) / visible.sum(-1).clamp(min=1)
    return (
        weights.classes * focal_cost(logits[..., PERSON, None])
        + weights.keypoints * distance
        + weights.oks * (1 - oks.clamp(min=1e-6))
    )
