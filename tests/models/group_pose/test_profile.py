"""Attention maps and traces of Group Pose."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posebench.errors import ModelError
from posebench.models import profile_of
from posebench.models.cid.model import CID
from posebench.models.cid.recipes import CIDConfig
from posebench.models.group_pose.model import GroupPose
from posebench.skeleton import COCO, CROWDPOSE
from posebench.structures import DetrResize, Inference, Sample
from tests.builders import make_sample
from tests.models.group_pose.builders import TINY


def test_several_scales_are_one_set() -> None:
    model = GroupPose(TINY, COCO).eval()
    inference = Inference(DetrResize(128, 128), scales=(0.5, 1.0))
    found, maps = profile_of(model.config).explain(model, make_sample(1), inference)
    assert len(found) == len(maps.people) > 0
    assert (found.scores.diff() <= 0).all()


def test_the_trace_ends_at_the_people() -> None:
    model = GroupPose(TINY, CROWDPOSE).eval()
    sample = make_sample(2, CROWDPOSE)
    inference = Inference(DetrResize(96, 128))
    found, trace = profile_of(model.config).trace(model, sample, inference, 2)
    [predicted] = model.predict([sample], replace(inference, flip=False))
    torch.testing.assert_close(found.keypoints, predicted.keypoints, rtol=1e-4, atol=1e-3)
    assert trace.steps.shape == (len(found), 3, 14, 2)
    torch.testing.assert_close(trace.steps[:, -1], found.keypoints, rtol=1e-4, atol=1e-3)
    assert trace.reliance.shape == (2, 96, 96)
    assert trace.reliance.amax((1, 2)).tolist() == [1, 1]


def test_a_method_of_one_step_has_no_trace() -> None:
    sample: Sample = make_sample(1)
    with pytest.raises(ModelError, match="one step"):
        profile_of(CIDConfig()).trace(
            CID(CIDConfig("hrnet_tiny"), COCO), sample, Inference(DetrResize(64, 64)), 1
        )
