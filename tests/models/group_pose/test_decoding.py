"""Decoding of queries to people by hand."""

from __future__ import annotations

import torch

from posebench.layers.set_decoding import POSES_KEPT, decode_people
from posebench.models.group_pose.decoding import GroupPoseOutputs
from posebench.skeleton import COCO
from posebench.structures import Geometry


def geometry_of(width: int, height: int) -> Geometry:
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    return Geometry(identity, torch.tensor([False]), torch.tensor([[width, height]]))


def test_decoding_keeps_fifty_and_leaves_out_those_who_are_nobody() -> None:
    count = POSES_KEPT + 10
    logits = torch.stack([torch.full((count,), -9.0), torch.linspace(3, -3, count)], -1)
    logits[0] = torch.tensor([9.0, 4.0])  # surer to be nobody, which takes one of the places
    keypoints = torch.rand(count, 17, 2)
    outputs = GroupPoseOutputs(logits[None, None], keypoints[None, None], logits[None], keypoints)
    [(found, _)] = decode_people(outputs, geometry_of(200, 100), COCO)
    assert len(found) == POSES_KEPT - 1
    torch.testing.assert_close(found.scores, logits[: POSES_KEPT - 1, 1].sigmoid())
    expected = keypoints[: POSES_KEPT - 1] * torch.tensor([200.0, 100.0])
    torch.testing.assert_close(found.keypoints, expected)
