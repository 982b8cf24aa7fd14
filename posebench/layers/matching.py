"""Predicted sets and true ones: who is matched to whom, and at which loss.

Shapes: N predictions, P people of one image, K keypoints, T sets of predictions for the same image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from posebench.distributed import mean_count
from posebench.layers.oks import keypoint_similarity

PERSON = 1  # column of the logits; column 0 is never a target


FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2


@dataclass(frozen=True)
class Weights:
    """Of the three terms, in the costs of a match as in the loss; Group Pose's by default."""

    classes: float = 2.0
    keypoints: float = 10.0
    oks: float = 4.0

    def __post_init__(self) -> None:
        if min(self.classes, self.keypoints, self.oks) <= 0:
            raise ValueError(
                "The weights of classes, keypoints and OKS are above 0, not "
                f"{self.classes:g}, {self.keypoints:g} and {self.oks:g}."
            )


PUBLISHED = Weights()


@dataclass(frozen=True)
class PoseSets:
    """The labelled people of each image, in shares of its width and height."""

    keypoints: list[Tensor]  # (P, K, 2) as shares of the image, float32
    visible: list[Tensor]  # (P, K) bool
    area: list[Tensor]  # (P,) as shares of the image's
    boxes: list[Tensor]  # (P, 4) centre x, y, width, height as shares of the image

    def __len__(self) -> int:
        return sum(len(area) for area in self.area)


def assignment(costs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the pairs of least total cost, for each of T cost matrices (T, N, P).

    Returns:
        For each matrix the matched predictions, rising, and their people, on the costs' device.

    Source: DETR (arXiv:2005.12872), Eq. 1.
    """
    # A diverging network's costs must not stop the run here: the loss itself says what is wrong.
    known = np.nan_to_num(costs.detach().float().cpu().numpy(), nan=1e9, posinf=1e9, neginf=-1e9)
    pairs = (linear_sum_assignment(matrix) for matrix in known)
    return [
        (
            torch.as_tensor(rows, dtype=torch.int64, device=costs.device),
            torch.as_tensor(columns, dtype=torch.int64, device=costs.device),
        )
        for rows, columns in pairs
    ]


def focal_cost(logits: Tensor) -> Tensor:
    """Return what it costs to call each of (...) logits a person rather than nobody.

    Source: Deformable DETR's matching.
    """
    scores = logits.sigmoid()
    nobody = (1 - FOCAL_ALPHA) * scores**FOCAL_GAMMA * -(1 - scores + 1e-8).log()
    person = FOCAL_ALPHA * (1 - scores) ** FOCAL_GAMMA * -(scores + 1e-8).log()
    return person - nobody


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the focal loss of each logit (...); `targets` (...) are 0 or 1.

    Source: focal loss (arXiv:1708.02002), Eq. 5.
    """
    scores = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    wrong = scores + targets - 2 * scores * targets
    balance = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    return balance * entropy * wrong**FOCAL_GAMMA


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
