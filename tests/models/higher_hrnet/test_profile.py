"""The tags of HigherHRNet's upper bound and of its pictures."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.models.higher_hrnet.profile import (
    BACKGROUND_TAG,
    TAG_STEP,
    ideal_tags,
    tag_similarity,
)
from tests.builders import make_poses


def test_ideal_tags_are_those_of_the_nearest_person() -> None:
    poses = make_poses(2)
    keypoints = torch.full_like(poses.keypoints, 8.0)
    keypoints[1, :, 0] = 13.0  # both at y = 8, in cells
    poses = replace(poses, keypoints=keypoints)
    tags = ideal_tags(poses, (64, 128))
    assert tags.shape == (17, 16, 32)
    assert tags[0, 8, [8, 10, 11, 13]].tolist() == [0.0, 0.0, TAG_STEP, TAG_STEP]
    assert tags[0, 8, 25] == BACKGROUND_TAG
    unlabelled = replace(poses, visibility=torch.tensor([[2], [0]]).expand(2, 17))
    assert ideal_tags(unlabelled, (64, 128))[0, 8, 13] == 0.0


def test_similarity_falls_with_the_distance_of_tags() -> None:
    tags = torch.zeros(3, 1, 16, 32)
    tags[:, :, :, 16:] = 1.0
    keypoints = torch.tensor([[10.0, 10.0], [20.0, 30.0], [100.0, 30.0]])  # the last is an outlier
    similarity = tag_similarity(tags, keypoints, torch.eye(2, 3))
    assert similarity[0, 0, 0] == 1
    torch.testing.assert_close(similarity[0, 0, 31], torch.tensor(-1.0).exp())
