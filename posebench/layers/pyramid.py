"""The feature pyramid that a deformable encoder refines: a backbone's maps and a coarser one.

Shapes: B images, C channels, S tokens of the pyramid, L levels, h x w a level's map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.backbones import SWIN_WEIGHTS
from posebench.layers.backbones.resnet import ResNetBackbone
from posebench.layers.backbones.swin import SwinBackbone
from posebench.layers.deformable import Tokens
from posebench.layers.portable import sizes_tensor
from posebench.layers.transformer import map_angles, waves

STRIDE = 8  # of the finest level
LEVELS = 4  # strides 8, 16, 32 and 64
MAP_TEMPERATURE = 20.0  # of the position encoding of maps

# Published parameter prefix -> that of a method whose parts are `backbone`, `projections`,
# `level_embedding`, `encoder`, `proposal_features` and `proposal_class`.
PUBLISHED_NAMES = {
    "backbone.0.body.": "backbone.body.",
    "backbone.0.patch_embed.": "backbone.stages.patch_embed.",
    "backbone.0.norm0.": "backbone.finest_norm.",
    **{f"backbone.0.norm{stage}.": f"backbone.norms.{stage - 1}." for stage in (1, 2, 3)},
    **{
        f"backbone.0.layers.{stage}.blocks.": f"backbone.stages.layers_{stage}.blocks."
        for stage in range(4)
    },
    # timm downsamples at the start of a stage, the published code at the end of the one before.
    **{
        f"backbone.0.layers.{s - 1}.downsample.": f"backbone.stages.layers_{s}.downsample."
        for s in (1, 2, 3)
    },
    "input_proj.": "projections.",
    "transformer.level_embed": "level_embedding",
    "transformer.encoder.": "encoder.",
    "transformer.enc_output.": "proposal_features.0.",
    "transformer.enc_output_norm.": "proposal_features.1.",
    "transformer.enc_out_class_embed.": "proposal_class.",
}
COMPUTED_TENSORS = r"\.relative_position_index$"  # published index tables of a Swin


@dataclass(frozen=True)
class EncodedPyramid:
    """The pyramid before and after the encoder."""

    tokens: Tokens
    memory: Tensor  # (B, S, C), the encoder's output


def build_backbone(
    name: str, *, frozen: bool, finest: bool = False, pretrained: bool = False
) -> ResNetBackbone | SwinBackbone:
    """Return a backbone that yields maps of strides 8, 16 and 32.

    Args:
        name: of a ResNet or of a Swin.
        frozen: do not train a ResNet's batch norms, stem and first stage.
        finest: yield the map of stride 4 too, before the others.
        pretrained: start from ImageNet weights.

    Raises:
        ModelError: the ImageNet weights do not exist or cannot be downloaded.
    """
    if name in SWIN_WEIGHTS:
        return SwinBackbone(name, finest=finest, pretrained=pretrained)
    return ResNetBackbone(name, frozen=frozen, finest=finest, pretrained=pretrained)


def build_projections(channels: Sequence[int], width: int) -> nn.ModuleList:
    """Return the layers that project each map to `width` channels; the last makes a coarser level.

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


def project(projections: nn.ModuleList, maps: Sequence[Tensor]) -> list[Tensor]:
    """Return the backbone's maps, projected, and a coarser level made of the last map itself."""
    return [
        projection(features)
        for projection, features in zip(projections, [*maps, maps[-1]], strict=True)
    ]


def pyramid_tokens(
    pyramid: Sequence[Tensor], level_embedding: Tensor, padding: Tensor | None
) -> Tokens:
    """Return a pyramid's maps as one sequence of tokens.

    Args:
        pyramid: L maps (B, C, h, w), the finest first.
        level_embedding: (L, C), added to the position encodings of each level.
        padding: (B, H, W) bool of the images, True on padding; None: there is none.
    """
    sizes = tuple((m.shape[-2], m.shape[-1]) for m in pyramid)
    if padding is None:  # one position encoding serves all images
        paddings = [m.new_zeros(1, *m.shape[-2:], dtype=torch.bool) for m in pyramid]
        extents = sizes_tensor(sizes, pyramid[0].device)[None]
    else:
        paddings = [F.interpolate(padding[None].float(), m.shape[-2:])[0].bool() for m in pyramid]
        sides = [[(~own[:, 0]).sum(1), (~own[:, :, 0]).sum(1)] for own in paddings]
        extents = torch.stack([torch.stack(own, -1) for own in sides], 1)
    values = torch.cat([m.flatten(2) for m in pyramid], 2).transpose(1, 2)
    angles = torch.cat([map_angles(own).flatten(1, 2) for own in paddings], 1)
    positions = waves(angles, level_embedding.shape[1], MAP_TEMPERATURE).to(values.dtype)
    by_level = torch.split(positions, [height * width for height, width in sizes], 1)
    return Tokens(
        values=values,
        positions=torch.cat(
            [p + level for p, level in zip(by_level, level_embedding, strict=True)], 1
        ),
        padding=None if padding is None else torch.cat([p.flatten(1) for p in paddings], 1),
        extents=extents.float(),
        sizes=sizes,
    )
