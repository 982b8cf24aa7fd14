"""A small PoseDet that several tests build on."""

from __future__ import annotations

import torch

from posebench.models.posedet.model import PoseDet
from posebench.models.posedet.recipes import PoseDetConfig
from posebench.skeleton import COCO, Skeleton

TINY = PoseDetConfig(backbone="hrnet_tiny", width=32)
# h, w and strides of its levels for an input of 128 x 128.
SIZES, STRIDES = [(16, 16), (8, 8), (4, 4)], (8, 16, 32)


def lively(skeleton: Skeleton = COCO, config: PoseDetConfig = TINY) -> PoseDet:
    """Return a model in float64 that finds many people, and places them all over the image."""
    model = PoseDet(config, skeleton).double().eval()
    torch.nn.init.normal_(model.coarse.weight, std=0.3)
    torch.nn.init.normal_(model.score.weight, std=3.0)
    assert model.score.bias is not None
    torch.nn.init.zeros_(model.score.bias)
    return model
