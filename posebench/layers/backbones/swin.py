"""Swin backbones: timm's layers, with the windows of the published dense-prediction code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import (
    SwinTransformerBlock,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn

from posebench.layers.backbones import SWIN_WEIGHTS
from posebench.layers.backbones.pretrained import timm_backbone
from posebench.layers.kept import kept
from posebench.layers.portable import portable

DROP_PATH = 0.2
PATCH = 4  # pixels a side


class SwinBackbone(nn.Module):
    """A Swin that maps (B, 3, H, W) to maps (B, C, h, w) of strides 8, 16 and 32, layer-normed."""

    def __init__(self, name: str, *, finest: bool = False, pretrained: bool = False) -> None:
        """Build the network.

        Args:
            name: a key of `SWIN_WEIGHTS`.
            finest: return the map of stride 4 too, before the others.
            pretrained: start from ImageNet weights.

        Raises:
            ModelError: the ImageNet weights do not exist or cannot be downloaded.
        """
        super().__init__()
        # always_partition: a map smaller than a window is padded to one, as the published code
        # does; timm would make the window smaller and not shift it.
        self.stages = timm_backbone(
            SWIN_WEIGHTS[name],
            pretrained=pretrained,
            out_indices=(0, 1, 2, 3) if finest else (1, 2, 3),
            strict_img_size=False,
            always_partition=True,
            drop_path_rate=DROP_PATH,
        )
        for block in self.stages.modules():
            if isinstance(block, SwinTransformerBlock):
                block.__class__ = PaddedBlock
        self.finest_norm = nn.LayerNorm(self.channels[0]) if finest else None
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in self.channels[-3:])

    @property
    def channels(self) -> list[int]:
        """Channels of each map, the finest first."""
        channels: list[int] = self.stages.feature_info.channels()  # type: ignore[operator, union-attr]
        return channels

    def forward(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % PATCH, 0, -height % PATCH))
        norms = [*self.norms] if self.finest_norm is None else [self.finest_norm, *self.norms]
        maps = zip(norms, self.stages(images), strict=True)
        return [norm(features).permute(0, 3, 1, 2) for norm, features in maps]


class PaddedBlock(SwinTransformerBlock):
    """A block that pads to whole windows before it shifts them; timm shifts first.

    The two differ where a side is not a multiple of the window.
    """

    def _attn(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        rows, columns = self.window_size
        x = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        padded_height, padded_width = x.shape[1:3]
        down, right = self.shift_size
        mask = None
        if down or right:
            x = torch.roll(x, (-down, -right), (1, 2))
            # While a network is exported, sizes are not numbers, which a cache could find again.
            make = _portable_shift_mask if portable() else _shift_mask
            mask = make(
                (padded_height, padded_width), (rows, columns), (down, right), x.device, x.dtype
            )
        windows = window_partition(x, (rows, columns)).view(-1, rows * columns, channels)
        windows = self.attn(windows, mask=mask).view(-1, rows, columns, channels)
        x = window_reverse(windows, (rows, columns), padded_height, padded_width)
        if down or right:
            x = torch.roll(x, (down, right), (1, 2))
        return x[:, :height, :width].contiguous()


@kept(16)  # a stage's blocks share a mask; there is one per image size
def _shift_mask(
    size: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Return (windows, T, T): -100 between tokens that are neighbours only after the shift."""
    regions = torch.zeros(1, *size, 1, device=device)
    ends = [(0, -w, -s, None) for w, s in zip(window, shift, strict=True)]
    number = 0
    for top, bottom in zip(ends[0], ends[0][1:], strict=False):
        for left, right in zip(ends[1], ends[1][1:], strict=False):
            regions[:, top:bottom, left:right] = number
            number += 1
    region = window_partition(regions, window).view(-1, window[0] * window[1])
    return torch.where(region[:, None] == region[:, :, None], 0.0, -100.0).to(dtype)


def _portable_shift_mask(
    size: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Return the same mask without writing to parts of a tensor."""
    sides = []
    for side, own_window, own_shift in zip(size, window, shift, strict=True):
        cell = torch.arange(side, device=device)
        sides.append((cell >= side - own_window).long() + (cell >= side - own_shift).long())
    regions = (3 * sides[0][:, None] + sides[1])[None, :, :, None].float()
    region = window_partition(regions, window).view(-1, window[0] * window[1])
    return torch.where(region[:, None] == region[:, :, None], 0.0, -100.0).to(dtype)
