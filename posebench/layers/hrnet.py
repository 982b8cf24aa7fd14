"""HRNet trunks: timm's, which carry the published parameter names and give the same maps."""

from __future__ import annotations

from typing import Any

import timm
from timm.models.hrnet import HighResolutionNetFeatures
from torch import nn

from posebench.errors import ModelError

# A trunk that learns in minutes on two CPU cores: HRNet's four-stream shape at an eighth of the
# width, one block per stream and one module per stage.
_TINY_WIDTH = 16


def _tiny_stage(streams: int) -> dict[str, Any]:
    return {
        "num_modules": 1,
        "num_branches": streams,
        "block_type": "BASIC",
        "num_blocks": (1,) * streams,
        "num_channels": tuple(_TINY_WIDTH * 2**i for i in range(streams)),
        "fuse_method": "SUM",
    }


_TINY = {
    "stem_width": 32,
    "stage1": {
        "num_modules": 1,
        "num_branches": 1,
        "block_type": "BOTTLENECK",
        "num_blocks": (1,),
        "num_channels": (16,),
        "fuse_method": "SUM",
    },
    "stage2": _tiny_stage(2),
    "stage3": _tiny_stage(3),
    "stage4": _tiny_stage(4),
}

HRNET_WIDTHS = {"hrnet_tiny": _TINY_WIDTH, "hrnet_w32": 32, "hrnet_w40": 40, "hrnet_w48": 48}


def hrnet(name: str, *, pretrained: bool = False) -> nn.Module:
    """Return a trunk that maps (B, 3, H, W) to four maps at strides 4, 8, 16 and 32.

    The maps have width, 2, 4 and 8 times width channels.

    Raises:
        ModelError: ImageNet weights are wanted and cannot be had.
    """
    # Without feature_location="" timm returns the classification head's widened maps.
    options: dict[str, Any] = {"feature_location": "", "out_indices": (1, 2, 3, 4)}
    if name == "hrnet_tiny":
        if pretrained:
            raise ModelError(f"There are no ImageNet weights for {name}: add --no-pretrained.")
        return HighResolutionNetFeatures(cfg=_TINY, **options)  # type: ignore[no-untyped-call]
    try:
        return timm.create_model(name, features_only=True, pretrained=pretrained, **options)
    except Exception as error:
        if not pretrained:
            raise
        # timm raises whatever its download library does; any failure here means no weights.
        raise ModelError(
            f"The ImageNet weights of {name} could not be downloaded ({type(error).__name__}). "
            "Connect to the network, or add --no-pretrained to start from random weights."
        ) from error
