"""Trunks of timm, with ImageNet weights where they are wanted."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from posebench.errors import ModelError


def timm_trunk(name: str, *, pretrained: bool, **options: Any) -> nn.Module:
    """Return timm's network of this name as a pyramid of maps.

    Raises:
        ModelError: ImageNet weights are wanted and cannot be had.
    """
    try:
        trunk: nn.Module = timm.create_model(
            name, features_only=True, pretrained=pretrained, **options
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
