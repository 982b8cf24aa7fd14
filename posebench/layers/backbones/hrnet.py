"""timm's HRNet backbones, whose parameter names and maps are the published ones.

HRNet yields four streams. CID joins them: it enlarges all to the size of the first and stacks them.
The joined map has 15 times HRNet's width at a quarter of the image's size, and takes longer to
compute than the layers that read it. A 1 x 1 convolution and the enlargement are both linear and
act on different axes, so they commute: `joined_conv` convolves each stream at its own size and
enlarges only the few output channels, and `joined_at` reads single cells. docs/cid.md has the gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.hrnet import HighResolutionNetFeatures
from torch import Tensor, nn

from posebench.errors import ModelError
from posebench.layers.backbones import TINY_HRNET_WIDTHS
from posebench.layers.backbones.pretrained import timm_backbone
from posebench.layers.portable import ratio


def _tiny(width: int) -> dict[str, Any]:
    """Return timm's configuration of a tiny HRNet."""

    def stage(streams: int) -> dict[str, Any]:
        return {
            "num_modules": 1,
            "num_branches": streams,
            "block_type": "BASIC",
            "num_blocks": (1,) * streams,
            "num_channels": tuple(width * 2**i for i in range(streams)),
            "fuse_method": "SUM",
        }

    first = {**stage(1), "block_type": "BOTTLENECK", "num_channels": (16,)}
    stages = {f"stage{streams}": stage(streams) for streams in (2, 3, 4)}
    return {"stem_width": 32, "stage1": first, **stages}


def hrnet(name: str, *, streams: int = 4, pretrained: bool = False) -> nn.Module:
    """Return an HRNet that maps (B, 3, H, W) to maps of strides 4, 8, 16 and 32.

    The maps have 1, 2, 4 and 8 times HRNet's width as channels.

    Args:
        name: a key of `HRNET_WIDTHS`.
        streams: number of maps, from the finest on; layers that only the others need are removed.
        pretrained: start from ImageNet weights.

    Raises:
        ModelError: the ImageNet weights do not exist or cannot be downloaded.
    """
    backbone = _whole(name, pretrained)
    last = backbone.get_submodule("stage4")[-1]  # type: ignore[index]
    last.fuse_layers = last.fuse_layers[:streams]
    return backbone


def _whole(name: str, pretrained: bool) -> nn.Module:
    # By default timm returns the maps that the classification head has widened.
    options: dict[str, Any] = {"feature_location": "", "out_indices": (1, 2, 3, 4)}
    if name in TINY_HRNET_WIDTHS:
        if pretrained:
            raise ModelError(f"There are no ImageNet weights for {name}: add --no-pretrained.")
        width = TINY_HRNET_WIDTHS[name]
        return HighResolutionNetFeatures(cfg=_tiny(width), **options)  # type: ignore[no-untyped-call]
    return timm_backbone(name, pretrained=pretrained, **options)


def joined(streams: Sequence[Tensor]) -> Tensor:
    """Return the streams enlarged to the first one's size and stacked, (B, 15 width, H, W)."""
    size = streams[0].shape[-2:]
    return torch.cat([streams[0], *(_enlarged(stream, size) for stream in streams[1:])], 1)


def joined_conv(streams: Sequence[Tensor], layers: Sequence[nn.Conv2d]) -> tuple[Tensor, ...]:
    """Return the outputs of 1 x 1 convolutions of the joined streams, without joining them.

    All of them have a bias, or none.
    """
    weight = torch.cat([layer.weight for layer in layers])
    biases = [layer.bias for layer in layers if layer.bias is not None]
    bias = torch.cat(biases) if biases else None
    parts = weight.split([stream.shape[1] for stream in streams], 1)  # type: ignore[no-untyped-call]
    total = F.conv2d(streams[0], parts[0], bias)
    for stream, part in zip(streams[1:], parts[1:], strict=True):
        total = total + _enlarged(F.conv2d(stream, part), total.shape[-2:])
    return torch.split(total, [layer.out_channels for layer in layers], 1)


def joined_at(streams: Sequence[Tensor], cells: Tensor) -> Tensor:
    """Return the joined streams' features (M, C) at cells (M, 3): image, y, x."""
    image, y, x = cells.unbind(1)
    columns = [streams[0][image, :, y, x]]
    height, width = streams[0].shape[-2:]
    for stream in streams[1:]:
        top, bottom, down = _neighbours(y, height, stream.shape[-2])
        left, right, along = _neighbours(x, width, stream.shape[-1])
        down, along = down.to(stream)[:, None], along.to(stream)[:, None]
        upper, lower = (
            torch.lerp(stream[image, :, row, left], stream[image, :, row, right], along)
            for row in (top, bottom)
        )
        columns.append(torch.lerp(upper, lower, down))
    return torch.cat(columns, 1)


def _enlarged(stream: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(stream, list(size), mode="bilinear", align_corners=False)


def _neighbours(cell: Tensor, size: int, source: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two source cells around a cell's centre, and the second one's weight."""
    position = ((cell + 0.5) * ratio(source, size, cell.device) - 0.5).clamp(min=0)
    first = position.floor().long()
    return first, (first + 1).clamp(max=source - 1), position - first
