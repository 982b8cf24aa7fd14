"""A small network for the tests beside."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.models import RECIPES
from posebench.models.ed_pose.model import EDPose
from posebench.models.ed_pose.recipes import EDPoseConfig
from posebench.skeleton import COCO, Skeleton

_CONFIG = RECIPES["ed_pose_tiny"].config
assert isinstance(_CONFIG, EDPoseConfig)
TINY = replace(_CONFIG, channels=64, hidden=64, box_queries=20, people=4, noise_queries=6)


def small_model(config: EDPoseConfig = TINY, skeleton: Skeleton = COCO) -> EDPose:
    """Return a network whose heads are not zero, as they are before the first step."""
    torch.manual_seed(0)
    model = EDPose(config, skeleton).eval()
    for parameter in model.decoder.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model
