"""Trunks of image classifiers without their first pooling, so that every map is twice as fine."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from posebench.layers.backbones import UNPOOLED_WEIGHTS
from posebench.layers.backbones.pretrained import timm_backbone

_POOLS = ("maxpool", "features_pool0")  # ResNet's and DenseNet's
_STAGES = {4: 2, 8: 3, 16: 4}  # stride without the pooling -> timm's number


def unpooled_backbone(name: str, strides: Sequence[int], *, pretrained: bool = False) -> nn.Module:
    """Return a trunk that maps (B, 3, H, W) to maps of `strides`, of 4, 8 and 16, the finest first.

    A map of stride s has a cell for every s pixels that are begun.

    Raises:
        ModelError: ImageNet weights are wanted and cannot be had.
    """
    trunk = timm_backbone(
        UNPOOLED_WEIGHTS[name],
        pretrained=pretrained,
        out_indices=tuple(_STAGES[stride] for stride in sorted(strides)),
    )
    for pool in _POOLS:
        if hasattr(trunk, pool):
            setattr(trunk, pool, nn.Identity())
    # DenseNet's pools drop what is left over of an odd size, which convolutions do not.
    for layer in trunk.modules():
        if isinstance(layer, nn.AvgPool2d):
            layer.ceil_mode = True
    return trunk


def backbone_channels(trunk: nn.Module) -> list[int]:
    """Return the channels of each map, the finest first."""
    channels: list[int] = trunk.feature_info.channels()  # type: ignore[operator, union-attr]
    return channels
