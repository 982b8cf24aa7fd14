"""Float32 for coordinates and losses, where the rest of a network computes in bfloat16."""

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
    """Return a context without autocast; on the meta device, which has none, an empty one."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def float32_conv(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """Return the output of a 1 x 1 convolution with a bias, computed in float32 at least."""
    assert layer.bias is not None
    weight, bias = to_float32(layer.weight), to_float32(layer.bias)
    with no_autocast(features.device):
        return F.conv2d(to_float32(features), weight, bias, groups=layer.groups)
