"""PoseDet's ideal outputs."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.models import profile_of
from posebench.models.posedet.model import PoseDet
from posebench.preprocess import blank_batch
from posebench.skeleton import COCO
from posebench.structures import FitResize
from tests.builders import make_sample
from tests.models.posedet.networks import TINY


def test_ideal_outputs_hold_people_with_few_keypoints() -> None:
    sample = make_sample(2)
    visibility = sample.poses.visibility.clone()
    visibility[0, 1:] = 0
    sample = replace(sample, poses=replace(sample.poses, visibility=visibility))
    with torch.device("meta"):
        model = PoseDet(TINY, COCO)
    batch = blank_batch(sample, FitResize(128, 128))
    (found,) = model.decode(profile_of(model.config).ideal_outputs(model, batch), batch.geometry)
    assert len(found) == 2
    lone = found.keypoints[found.keypoints.std(1).amax(1).argmin()]
    torch.testing.assert_close(lone, sample.poses.keypoints[0, :1].expand(17, 2).float())
