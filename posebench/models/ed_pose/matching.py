"""ED-Pose's matching costs: of boxes in box layers, of keypoints in pose layers.

Shapes: B images, M or N predictions of an image, P people of all images, K keypoints, R sets of
predictions for the same images. Boxes are centre x, y, width, height as shares of the image.
"""

from __future__ import annotations

from torch import Tensor

from posebench.layers.matching import box_costs, class_costs, keypoint_costs
from posebench.layers.pose_sets import People
from posebench.models.ed_pose.recipes import PUBLISHED, Weights


def detection_costs(
    logits: Tensor, boxes: Tensor, people: People, weights: Weights = PUBLISHED
) -> Tensor:
    """Return the costs (R, P, M) of matching each box to each person of its image.

    Args:
        logits: (R, B, M, 2).
        boxes: (R, B, M, 4).
        people: of the B images.
        weights: of the costs.
    """
    distance, iou = box_costs(boxes, people)
    return (
        weights.classes * class_costs(logits, people) + weights.boxes * distance + weights.iou * iou
    )


def pose_costs(
    logits: Tensor,
    keypoints: Tensor,
    people: People,
    sigmas: Tensor,
    weights: Weights = PUBLISHED,
) -> Tensor:
    """Return the costs (R, P, N) of matching each pose to each person of its image.

    Boxes do not count, although the matched ones are trained too.

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
