"""The feature pyramid that Group Pose's encoder refines: a backbone's three maps and a fourth.

Shapes: B images, C channels, S tokens of the pyramid, L levels, h x w a level's map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.backbones import SWIN_WEIGHTS
from posebench.layers.backbones.resnet import ResNetBackbone
from posebench.layers.backbones.swin import SwinBackbone
from posebench.layers.deformable import Tokens
from posebench.layers.transformer import map_encoding
from posebench.models.group_pose.recipes import GroupPoseConfig

STRIDE = 8  # of the finest level
LEVELS = 4  # strides 8, 16, 32 and 64
MAP_TEMPERATURE = 20.0  # of the position encoding of maps


def build_backbone(
    config: GroupPoseConfig, *, pretrained: bool = False
) -> ResNetBackbone | SwinBackbone:
    """Return a backbone that yields maps of strides 8, 16 and 32.

    Raises:
        ModelError: the ImageNet weights do not exist or cannot be downloaded.
    """
    if config.backbone in SWIN_WEIGHTS:
        return SwinBackbone(config.backbone, pretrained=pretrained)
    return ResNetBackbone(config.backbone, frozen=config.frozen_backbone, pretrained=pretrained)


def build_projections(channels: Sequence[int], width: int) -> nn.ModuleList:
    """Return the layers that project each map to `width` channels; the last makes the fourth level.

    Args:
        channels: of the backbone's maps.
        width: of the pyramid.
    """
    convolutions = [nn.Conv2d(own, width, 1) for own in channels]
    convolutions.append(nn.Conv2d(channels[-1], width, 3, stride=2, padding=1))
    for convolution in convolutions:
        nn.init.xavier_uniform_(convolution.weight)
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
    return nn.ModuleList(nn.Sequential(c, nn.GroupNorm(32, width)) for c in convolutions)


def pyramid_tokens(
    pyramid: Sequence[Tensor], level_embedding: Tensor, padding: Tensor | None
) -> Tokens:
    """Return a pyramid's maps as one sequence of tokens.

    Args:
        pyramid: L maps (B, C, h, w), the finest first.
        level_embedding: (L, C), added to the position encodings of each level.
        padding: (B, H, W) bool of the images, True on padding; None: there is none.
    """
    if padding is None:  # one position encoding serves all images
        paddings = [m.new_zeros(1, *m.shape[-2:], dtype=torch.bool) for m in pyramid]
    else:
        paddings = [F.interpolate(padding[None].float(), m.shape[-2:])[0].bool() for m in pyramid]
    channels = level_embedding.shape[1]
    positions = [
        map_encoding(own, channels, MAP_TEMPERATURE).flatten(1, 2).to(m.dtype)
        for own, m in zip(paddings, pyramid, strict=True)
    ]
    extents = [torch.stack([(~own[:, 0]).sum(1), (~own[:, :, 0]).sum(1)], -1) for own in paddings]
    return Tokens(
        values=torch.cat([m.flatten(2) for m in pyramid], 2).transpose(1, 2),
        positions=torch.cat(
            [p + level for p, level in zip(positions, level_embedding, strict=True)], 1
        ),
        padding=None if padding is None else torch.cat([p.flatten(1) for p in paddings], 1),
        extents=torch.stack(extents, 1).float(),
        sizes=tuple((m.shape[-2], m.shape[-1]) for m in pyramid),
    )
