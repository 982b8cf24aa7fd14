"""ED-Pose's losses: of the encoder's boxes, the box layers', the pose layers', and noise queries.

Shapes: B images, M box queries, N predicted people of an image, K keypoints, Q noise queries, R
sets of predictions for the same images: of the encoder and the box layers, or of the pose layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.distributed import mean_count
from posebench.layers import set_losses
from posebench.layers.boxes import generalized_iou
from posebench.layers.matching import PERSON, Matches, focal_loss, match
from posebench.layers.pose_sets import PoseSets
from posebench.models.ed_pose.denoising import NoisyPeople
from posebench.models.ed_pose.matching import detection_costs, pose_costs
from posebench.models.ed_pose.outputs import Detections, EDPoseOutputs
from posebench.models.ed_pose.recipes import Weights


@dataclass(frozen=True)
class BoxLosses:
    """Unweighted losses (R,) of R sets of boxes."""

    classes: Tensor
    boxes: Tensor
    iou: Tensor


@dataclass(frozen=True)
class KeypointLosses:
    """Unweighted losses (R,) of R sets of poses."""

    keypoints: Tensor
    oks: Tensor


def loss_terms(
    outputs: EDPoseOutputs,
    targets: PoseSets,
    noisy: NoisyPeople | None,
    sigmas: Tensor,
    weights: Weights,
) -> dict[str, Tensor]:
    """Return the weighted terms of the loss.

    Args:
        outputs: of the network in training mode.
        targets: of the same images.
        noisy: what the noise queries should become; None: no noise queries.
        sigmas: (K,) of the skeleton.
        weights: of the terms, and of the matching costs.

    Returns:
        The last layer's four terms, boxes with their IoU, and the sums over the pose layers before
        it, over the box layers, of the encoder, and of the noise queries.
    """
    detected = outputs.detected
    assert detected is not None
    by_boxes, by_keypoints = matches(outputs, targets, sigmas, weights)
    people = mean_count(len(targets), outputs.logits.device)
    first = box_losses(detected, targets, by_boxes, people)
    posed = box_losses(Detections(outputs.logits, outputs.boxes), targets, by_keypoints, people)
    poses = keypoint_losses(outputs.keypoints, targets, by_keypoints, sigmas, people)
    detection = (
        weights.classes * first.classes + weights.boxes * first.boxes + weights.iou * first.iou
    )
    weighted = {
        "class": weights.classes * posed.classes,
        "box": weights.boxes * posed.boxes + weights.iou * posed.iou,
        "keypoints": weights.keypoints * poses.keypoints,
        "oks": weights.oks * poses.oks,
    }
    terms = {name: term[-1] for name, term in weighted.items()}
    terms["layers before"] = torch.stack(list(weighted.values()))[:, :-1].sum()
    terms |= {"box layers": detection[1:].sum(), "encoder": detection[0]}
    if noisy is not None:
        assert outputs.noise is not None
        noise = noise_losses(outputs.noise, noisy)
        terms["noise"] = (
            weights.noise_classes * noise.classes
            + weights.noise_boxes * noise.boxes
            + weights.noise_iou * noise.iou
        ).sum()
    return terms


def matches(
    outputs: EDPoseOutputs, targets: PoseSets, sigmas: Tensor, weights: Weights
) -> tuple[Matches, Matches]:
    """Return the matches of the encoder and the box layers, and those of the pose layers.

    The published code matches by keypoints where the predicted ones of the batch sum to more than
    zero, which is in the pose layers.
    """
    detected = outputs.detected
    assert detected is not None
    people = targets.together
    by_boxes = detection_costs(detected.logits, detected.boxes, people, weights)
    by_keypoints = pose_costs(outputs.logits, outputs.keypoints, people, sigmas, weights)
    first, second = match([by_boxes, by_keypoints], targets.counts)
    return first, second


def box_losses(
    predicted: Detections, targets: PoseSets, matched: Matches, people: float | Tensor
) -> BoxLosses:
    """Return the losses of R sets of boxes, matched to people.

    Args:
        predicted: with logits (R, B, M, 2) and boxes (R, B, M, 4).
        targets: of the B images.
        matched: of the R sets.
        people: by which the sums are divided.
    """
    distance, iou = set_losses.box_losses(predicted.boxes, targets.together, matched)
    classes = set_losses.class_losses(predicted.logits, matched)
    return BoxLosses(classes / people, distance / people, iou / people)


def keypoint_losses(
    keypoints: Tensor, targets: PoseSets, matched: Matches, sigmas: Tensor, people: float | Tensor
) -> KeypointLosses:
    """Return the losses of R sets of poses, matched to people.

    Args:
        keypoints: (R, B, N, K, 2).
        targets: of the B images.
        matched: of the R sets.
        sigmas: (K,) of the skeleton.
        people: by which the sums are divided.
    """
    # As published: a person without a labelled keypoint has an OKS of 1e-6.
    distance, oks = set_losses.keypoint_losses(
        keypoints, targets.together, matched, sigmas, epsilon=1e-6
    )
    return KeypointLosses(distance / people, oks / people)


def noise_losses(predicted: Detections, noisy: NoisyPeople) -> BoxLosses:
    """Return the losses (D,) of the noise queries in each of D layers.

    They are divided by Q, whatever the number of images and people. In images without people, all
    queries should be rejected, and yet restore their random boxes.

    Args:
        predicted: with logits (D, B, Q, 2) and boxes (D, B, Q, 4).
        noisy: what they should become.
    """
    queries = noisy.is_person.shape[1]
    logits, boxes = predicted.logits, predicted.boxes
    is_person = F.pad(noisy.is_person[..., None].to(logits), (PERSON, 0)).expand_as(logits)
    truth = noisy.clean_boxes.to(boxes)
    return BoxLosses(
        focal_loss(logits, is_person).sum((1, 2, 3)) / queries,
        (boxes - truth).abs().sum((1, 2, 3)) / queries,
        (1 - generalized_iou(boxes, truth)).sum((1, 2)) / queries,
    )
