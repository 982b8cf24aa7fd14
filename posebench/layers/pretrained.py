"""Trunks of timm, with ImageNet weights where they are wanted."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from posebench.errors import ModelError

# Trunks that learn in minutes on two CPU cores: here one narrow block in each stage.
_TINY: dict[str, dict[str, Any]] = {
    "resnet_tiny": {
        "model_name": "resnet10t", "channels": (32, 64, 128, 256), "stem_width": 16,
    },
}  # fmt: skip


def timm_trunk(name: str, *, pretrained: bool, **options: Any) -> nn.Module:
    """Return timm's network of this name, or a tiny one, as a pyramid of maps.

    Raises:
        ModelError: ImageNet weights are wanted and cannot be had.
    """
    if name in _TINY and pretrained:
        raise ModelError(f"There are no ImageNet weights for {name}: add --no-pretrained.")
    named = {"model_name": name, **_TINY.get(name, {})}
    try:
        trunk: nn.Module = timm.create_model(
            features_only=True, pretrained=pretrained, **named, **options
        )
    except Exception as error:
        if not pretrained:
            raise
        # timm raises whatever its download library does; any failure here means no weights.
        raise ModelError(
            f"The ImageNet weights of {name} could not be downloaded ({type(error).__name__}). "
            "Connect to the network, or add --no-pretrained to start from random weights."
        ) from error
    return trunk
