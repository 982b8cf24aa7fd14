"""Hungarian matching of predictions to people: its costs, and the focal loss.

Shapes: B images, N predictions of an image, P people of all images, one image after the other, R
sets of predictions for the same images, T pairs of a set, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from posebench.layers.boxes import generalized_iou
from posebench.layers.oks import keypoint_similarity
from posebench.layers.pose_sets import People
from posebench.transfer import to_device, to_host

PERSON = 1  # column of the logits; column 0 is never a target

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2


@dataclass(frozen=True)
class Matches:
    """Pairs of a prediction and a person; an image has equally many of them in every set."""

    sets: Tensor  # (R, T)
    images: Tensor  # (R, T)
    queries: Tensor  # (R, T), which of an image's predictions
    people: Tensor  # (R, T), among those of all images

    @property
    def where(self) -> tuple[Tensor, Tensor, Tensor]:
        """The indices of the pairs' predictions in (R, B, N, ...)."""
        return self.sets, self.images, self.queries


def match(costs: Sequence[Tensor], counts: Sequence[int]) -> list[Matches]:
    """Return the assignments of least total cost, of several kinds of predictions.

    All costs go to the CPU at once, and all matches back: each copy waits for the device.

    Args:
        costs: (R, P, N) of each kind.
        counts: number of people of each image.

    Source: DETR (arXiv:2005.12872), Eq. 1.
    """
    on_cpu = to_host([kind.detach().float() for kind in costs])
    pairs = [torch.from_numpy(_pairs(kind.numpy(), counts)) for kind in on_cpu]
    return [Matches(*kind) for kind in to_device(pairs, costs[0].device)]


def _pairs(costs: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.int64]:
    """Return set, image, query and person of each pair (4, R, T), an image's by their query."""
    from scipy.optimize import linear_sum_assignment

    # NaN of a diverging network would raise here; the loss reports it in a clearer way.
    finite = np.nan_to_num(costs, nan=1e9, posinf=1e9, neginf=-1e9)
    sets = []
    for number, of_set in enumerate(finite):
        pairs = [np.zeros((4, 0), np.int64)]
        before = 0
        for image, count in enumerate(counts):
            queries, people = linear_sum_assignment(of_set[before : before + count].T)
            where = np.broadcast_to([[number], [image]], (2, len(queries)))
            pairs.append(np.concatenate([where, [queries, before + people]]))
            before += count
        sets.append(np.concatenate(pairs, 1))
    return np.stack(sets, 1)


def class_costs(logits: Tensor, people: People) -> Tensor:
    """Return the matching costs (R, P, N) of logits (R, B, N, 2), unweighted."""
    return focal_cost(logits.detach()[..., PERSON])[:, people.images]


def focal_cost(logits: Tensor) -> Tensor:
    """Return the matching cost (...) of logits: their focal loss as a person, less as background.

    Source: Deformable DETR's matching.
    """
    scores = logits.sigmoid()
    background = (1 - FOCAL_ALPHA) * scores**FOCAL_GAMMA * -(1 - scores + 1e-8).log()
    person = FOCAL_ALPHA * (1 - scores) ** FOCAL_GAMMA * -(scores + 1e-8).log()
    return person - background


def box_costs(boxes: Tensor, people: People) -> tuple[Tensor, Tensor]:
    """Return the matching costs of boxes (R, P, N), unweighted: their L1 distance, and minus IoU.

    Args:
        boxes: (R, B, N, 4).
        people: of the images.
    """
    boxes, truth = boxes.detach()[:, people.images], people.boxes[:, None]
    return (boxes - truth).abs().sum(-1), -generalized_iou(boxes, truth)


def keypoint_costs(keypoints: Tensor, people: People, sigmas: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matching costs of keypoints (R, P, N), unweighted: their L1 distance, and 1 - OKS.

    Args:
        keypoints: (R, B, N, K, 2).
        people: of the images.
        sigmas: (K,) of the skeleton.
    """
    predicted, truth = keypoints.detach().unbind(-1), people.keypoints.unbind(-1)
    # Each (R, P, N, K): sums of two numbers side by side in memory would take a CPU longer.
    x, y = (
        own[:, people.images].sub_(true[:, None])  # in place, since an index copies
        for own, true in zip(predicted, truth, strict=True)
    )
    labelled = people.visible[:, None]
    distance = ((x.abs() + y.abs()) * labelled).sum(-1)
    similarity = keypoint_similarity(x.square() + y.square(), people.area[:, None], sigmas)
    oks = (similarity * labelled).sum(-1) / labelled.sum(-1).clamp(min=1)
    return distance, 1 - oks.clamp(min=1e-6)


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the focal loss of each logit (...); `targets` (...) are 0 or 1.

    Source: focal loss (arXiv:1708.02002), Eq. 5.
    """
    scores = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    error = scores + targets - 2 * scores * targets
    balance = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    return balance * entropy * error**FOCAL_GAMMA
