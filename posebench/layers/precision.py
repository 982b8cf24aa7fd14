"""What is computed in float32 though the rest of a network is rounded to bfloat16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_float32(values: Tensor) -> Tensor:
    """Return the values in at least float32: bfloat16 misplaces a coordinate by whole cells."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which autocast rounds nothing; the meta device knows no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def float32_conv(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """Return what a 1 x 1 convolution with a bias makes of features, in float32 at least."""
    assert layer.bias is not None
    with no_autocast(features.device):
        return F.conv2d(to_float32(features), to_float32(layer.weight), to_float32(layer.bias))
