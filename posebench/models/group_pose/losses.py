"""Group Pose's matching costs and losses.

Shapes: N predictions, P people of one image, K keypoints, R sets of predictions for the same image:
the encoder's, then each decoder layer's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.distributed import mean_count
from posebench.layers.matching import PERSON, assignments, focal_cost, focal_loss, keypoint_costs
from posebench.layers.oks import keypoint_similarity
from posebench.layers.pose_sets import PoseSets
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
        terms["boxes"] = box_loss(outputs.detected, targets.boxes, people)
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
    dtype = torch.promote_types(logits.dtype, torch.float32)
    logits, keypoints, sigmas = logits.to(dtype), keypoints.to(dtype), sigmas.to(dtype)
    set_indices = torch.arange(len(logits), device=logits.device)
    people = mean_count(len(targets), logits.device)
    is_person = torch.zeros_like(logits)
    # 0 times the keypoints, so that all of them have a gradient in images without people too.
    distance = oks_loss = 0 * keypoints.sum((1, 2, 3, 4))
    truths, areas = ([own.to(dtype) for own in v] for v in (targets.keypoints, targets.area))
    images = list(zip(truths, targets.visible, areas, strict=True))
    costs = [
        pose_costs(logits[:, image], keypoints[:, image], *own, sigmas, weights)
        for image, own in enumerate(images)
    ]
    for image, pairs in enumerate(assignments(costs)):
        truth, visible, area = images[image]
        for index, (chosen, person) in enumerate(pairs):
            is_person[index, image, chosen, PERSON] = 1
            error = keypoints[index, image, chosen] - truth[person]  # (P, K, 2)
            labelled = visible[person]
            similarity = keypoint_similarity(error.square().sum(-1), area[person], sigmas)
            oks = (similarity * labelled).sum(1) / labelled.sum(1).clamp(min=1)
            this_set = set_indices == index
            distance = distance + (error.abs() * labelled[..., None]).sum() * this_set
            oks_loss = oks_loss + (1 - oks).sum() * this_set
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
    """Return the costs (R, N, P) of matching each prediction to each person of one image.

    Args:
        logits: (R, N, 2).
        keypoints: (R, N, K, 2).
        truth: (P, K, 2), the annotated keypoints.
        visible: (P, K) bool, True where a keypoint is labelled.
        area: (P,) as shares of the image's.
        sigmas: (K,) of the skeleton.
        weights: of the costs.
    """
    logits, keypoints = logits.detach(), keypoints.detach()
    distance, oks = keypoint_costs(keypoints, truth, visible, area, sigmas)
    return (
        weights.classes * focal_cost(logits[..., PERSON, None])
        + weights.keypoints * distance
        + weights.oks * oks
    )
