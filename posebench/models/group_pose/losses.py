"""Group Pose's matching costs and losses.

Shapes: B images, N predictions of an image, P people of all images, K keypoints, R sets of
predictions for the same images: the encoder's, then each decoder layer's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.distributed import mean_count
from posebench.layers.matching import class_costs, keypoint_costs, match
from posebench.layers.pose_sets import People, PoseSets
from posebench.layers.set_losses import class_losses, keypoint_losses
from posebench.models.group_pose.decoding import GroupPoseOutputs
from posebench.models.group_pose.detection import box_loss
from posebench.models.group_pose.recipes import PUBLISHED, Weights


@dataclass(frozen=True)
class SetLosses:
    """Unweighted losses (R,) of R sets of predictions."""

    classes: Tensor
    keypoints: Tensor
    oks: Tensor


def loss_terms(
    outputs: GroupPoseOutputs, targets: PoseSets, sigmas: Tensor, weights: Weights
) -> dict[str, Tensor]:
    """Return the weighted terms of the loss.

    Args:
        outputs: of the network in training mode.
        targets: of the same images.
        sigmas: (K,) of the skeleton.
        weights: of the terms, and of the matching costs.

    Returns:
        The last layer's three terms, the sum over the layers before it, the encoder's, and if
        boxes were detected theirs.
    """
    logits = torch.cat([outputs.proposal_logits[None], outputs.logits])
    keypoints = torch.cat([outputs.proposal_keypoints[None], outputs.keypoints])
    losses = set_losses(logits, keypoints, targets, sigmas, weights)
    weighted = {
        "class": weights.classes * losses.classes,
        "keypoints": weights.keypoints * losses.keypoints,
        "oks": weights.oks * losses.oks,
    }
    total = sum(weighted.values())
    assert isinstance(total, Tensor)
    terms = {name: term[-1] for name, term in weighted.items()}
    terms |= {"layers before": total[1:-1].sum(), "encoder": total[0]}
    if outputs.detected:
        people = mean_count(len(targets), outputs.logits.device)
        terms["boxes"] = box_loss(outputs.detected, targets, people)
    return terms


def set_losses(
    logits: Tensor,
    keypoints: Tensor,
    targets: PoseSets,
    sigmas: Tensor,
    weights: Weights = PUBLISHED,
) -> SetLosses:
    """Match each set of predictions to the people of its image, and return the losses.

    Args:
        logits: (R, B, N, 2).
        keypoints: (R, B, N, K, 2).
        targets: of the B images.
        sigmas: (K,) of the skeleton.
        weights: of the matching costs.

    Source: Group Pose (ICCV 2023), Sec. 3.1, and its published code: all three losses are divided
    by the number of people, that of keypoints too.
    """
    people = targets.together
    costs = pose_costs(logits, keypoints, people, sigmas, weights)
    [matched] = match([costs], targets.counts)
    count = mean_count(len(targets), logits.device)
    distance, oks = keypoint_losses(keypoints, people, matched, sigmas)
    return SetLosses(class_losses(logits, matched) / count, distance / count, oks / count)


def pose_costs(
    logits: Tensor,
    keypoints: Tensor,
    people: People,
    sigmas: Tensor,
    weights: Weights = PUBLISHED,
) -> Tensor:
    """Return the costs (R, P, N) of matching each prediction to each person of its image.

    Args:
        logits: (R, B, N, 2).
        keypoints: (R, B, N, K, 2).
        people: of the B images.
        sigmas: (K,) of the skeleton.
        weights: of the costs.
    """
    distance, oks = keypoint_costs(keypoints, people, sigmas)
    return (
        weights.classes * class_costs(logits, people)
        + weights.keypoints * distance
        + weights.oks * oks
    )
