"""Targets of set predictions by hand."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.layers.pose_sets import build_targets
from posebench.preprocess import collate, resize_sample
from posebench.structures import DetrResize
from tests.builders import make_sample
from tests.models.group_pose.builders import padded_batch


def test_targets_are_shares_of_the_image_without_padding() -> None:
    batch = padded_batch((1, 2))
    targets = build_targets(batch)
    assert len(targets) == 3
    width, height = batch.geometry.sizes[1].tolist()
    assert (width, height) == (104, 128)
    expected = batch.poses[1].keypoints / torch.tensor([width, height])
    torch.testing.assert_close(targets.keypoints[1], expected.float())
    area = batch.poses[1].area / (width * height)
    torch.testing.assert_close(targets.area[1], area.float())


def test_people_without_a_label_are_no_targets() -> None:
    sample = make_sample(2)
    visibility = sample.poses.visibility.clone()
    visibility[0] = 0
    hidden = replace(sample, poses=replace(sample.poses, visibility=visibility))
    batch = collate([resize_sample(hidden, DetrResize(128, 128))])
    assert len(build_targets(batch)) == 1
