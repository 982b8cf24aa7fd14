"""Losses of sets of predictions that are matched to people, each a sum over all images.

Shapes: B images, N predictions of an image, R sets of predictions for the same images, T pairs of a
set, K keypoints.
"""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.layers.boxes import generalized_iou
from posebench.layers.matching import PERSON, Matches, focal_loss
from posebench.layers.oks import keypoint_similarity
from posebench.layers.pose_sets import People


def class_losses(logits: Tensor, matched: Matches) -> Tensor:
    """Return the focal losses (R,) of logits (R, B, N, 2)."""
    is_person = torch.zeros_like(logits)
    is_person[(*matched.where, PERSON)] = 1
    return focal_loss(logits, is_person).sum((1, 2, 3))


def box_losses(boxes: Tensor, people: People, matched: Matches) -> tuple[Tensor, Tensor]:
    """Return the losses (R,) of boxes (R, B, N, 4): their L1 distance, and 1 - generalised IoU."""
    boxes, truth = boxes[matched.where], people.boxes[matched.people]
    return (boxes - truth).abs().sum((1, 2)), (1 - generalized_iou(boxes, truth)).sum(1)


def keypoint_losses(
    keypoints: Tensor, people: People, matched: Matches, sigmas: Tensor, epsilon: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the losses (R,) of keypoints: their L1 distance, and 1 - OKS.

    Args:
        keypoints: (R, B, N, K, 2).
        people: of the images, each with a labelled keypoint unless there is an epsilon.
        matched: predictions and people.
        sigmas: (K,) of the skeleton.
        epsilon: the least OKS; added to a person's number of labelled keypoints.
    """
    labelled = people.visible[matched.people]
    error = keypoints[matched.where] - people.keypoints[matched.people]  # (R, T, K, 2)
    distance = (error.abs().sum(-1) * labelled).sum((1, 2))
    similarity = keypoint_similarity(error.square().sum(-1), people.area[matched.people], sigmas)
    oks = (similarity * labelled).sum(-1) / (labelled.sum(-1) + epsilon)
    return distance, (1 - oks.clamp(min=epsilon)).sum(1)
