"""The torso point against hand-worked values."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.layers.torso import add_torso
from posebench.skeleton import CROWDPOSE
from tests.builders import make_sample


def test_the_torso_is_the_mean_of_three_corners_at_least() -> None:
    poses = make_sample(3, CROWDPOSE).poses
    visibility = poses.visibility.clone()
    visibility[0, 0] = 0  # left shoulder
    visibility[1, [0, 6]] = 0
    found = add_torso(replace(poses, visibility=visibility), CROWDPOSE)
    assert found.visibility[:, -1].tolist() == [3, 0, 4]
    corners = [
        CROWDPOSE.keypoints.index(f"{s}_{p}")
        for p in ("shoulder", "hip")
        for s in ("left", "right")
    ]
    torch.testing.assert_close(found.keypoints[2, -1], poses.keypoints[2, corners].mean(0))
    torch.testing.assert_close(found.keypoints[0, -1], poses.keypoints[0, corners[1:]].mean(0))
    assert found.keypoints[:, :-1].equal(poses.keypoints)
