"""PoseDet's torso point, the keypoint that makes an even skeleton odd."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.skeleton import Skeleton, canonical_name
from posebench.structures import Poses

_CORNERS = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


def add_torso(poses: Poses, skeleton: Skeleton) -> Poses:
    """Return poses with one more keypoint, the mean of the labelled shoulders and hips.

    It is labelled where at least three of the four are; its visibility is their number, as
    published. Ours: of a skeleton without shoulders and hips it is the mean of all keypoints,
    labelled where one of them is.
    """
    index = {canonical_name(name): k for k, name in enumerate(skeleton.keypoints)}
    corners = [index.get(canonical_name(name), -1) for name in _CORNERS]
    enough = 3
    if -1 in corners:
        corners, enough = list(range(len(skeleton))), 1
    labelled = (poses.visibility[:, corners] > 0)[..., None]
    count = labelled.sum(1)  # (N, 1)
    torso = (poses.keypoints[:, corners] * labelled).sum(1) / count.clamp(min=1)
    return replace(
        poses,
        keypoints=torch.cat([poses.keypoints, torso[:, None]], 1),
        visibility=torch.cat([poses.visibility, count.where(count >= enough, 0)], 1),
    )
