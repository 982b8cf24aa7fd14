"""PoseDet's torso point, the keypoint that makes an even skeleton odd."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.skeleton import Skeleton
from posebench.structures import Poses

CORNERS = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


def add_torso(poses: Poses, skeleton: Skeleton) -> Poses:
    """Return poses with one more keypoint, the mean of the labelled shoulders and hips.

    It is labelled where at least three of the four are; its visibility is their number, as
    published.
    """
    corners = [skeleton.keypoints.index(name) for name in CORNERS]
    labelled = (poses.visibility[:, corners] > 0)[..., None]
    count = labelled.sum(1)  # (N, 1)
    torso = (poses.keypoints[:, corners] * labelled).sum(1) / count.clamp(min=1)
    return replace(
        poses,
        keypoints=torch.cat([poses.keypoints, torso[:, None]], 1),
        visibility=torch.cat([poses.visibility, count.where(count >= 3, 0)], 1),
    )
