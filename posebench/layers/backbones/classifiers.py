"""Image classifiers without their first pooling as backbones: every map is twice as fine."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from posebench.layers.backbones import UNPOOLED_WEIGHTS
from posebench.layers.backbones.pretrained import timm_backbone

_POOLS = ("maxpool", "features_pool0")  # ResNet's and DenseNet's
_STAGES = {4: 2, 8: 3, 16: 4}  # stride without the pooling -> timm's number


def unpooled_backbone(name: str, strides: Sequence[int], *, pretrained: bool = False) -> nn.Module:
    """Return a backbone that maps (B, 3, H, W) to feature maps, the finest first.

    A map of stride s has ceil(H / s) x ceil(W / s) cells.

    Args:
        name: a key of `UNPOOLED_WEIGHTS`.
        strides: of the maps; some of 4, 8 and 16.
        pretrained: start from ImageNet weights.

    Raises:
        ModelError: the ImageNet weights do not exist or cannot be downloaded.
    """
    backbone = timm_backbone(
        UNPOOLED_WEIGHTS[name],
        pretrained=pretrained,
        out_indices=tuple(_STAGES[stride] for stride in sorted(strides)),
    )
    for pool in _POOLS:
        if hasattr(backbone, pool):
            setattr(backbone, pool, nn.Identity())
    # DenseNet's pools drop the last row or column of an odd size; convolutions keep it.
    for layer in backbone.modules():
        if isinstance(layer, nn.AvgPool2d):
            layer.ceil_mode = True
    return backbone


def backbone_channels(backbone: nn.Module) -> list[int]:
    """Return the channels of each map, the finest first."""
    channels: list[int] = backbone.feature_info.channels()  # type: ignore[operator, union-attr]
    return channels
