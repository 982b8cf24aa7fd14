"""Feature pyramids: maps with equal channels at several strides, from a backbone's maps.

Shapes: B images, C channels; a backbone's maps are at strides 4, 8, 16 and 32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posebench.layers.backbones.hrnet import joined_conv

MAX_GROUPS, GROUP_WIDTH = 32, 4  # of a group norm: maximum groups, minimum channels per group


class Conv(nn.Module):
    """A convolution with a bias or a group norm, and an optional ReLU."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int,
        *,
        stride: int = 1,
        norm: bool = True,
        relu: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=not norm)
        if norm:
            self.gn = nn.GroupNorm(min(MAX_GROUPS, width // GROUP_WIDTH), width)
        self.norm, self.relu = norm, relu
        nn.init.xavier_uniform_(self.conv.weight)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv(maps)
        if self.norm:
            maps = _normed(self.gn, maps)
        return F.relu(maps, inplace=True) if self.relu else maps


def _normed(norm: nn.GroupNorm, maps: Tensor) -> Tensor:
    """Return normalized maps in the memory format of the input.

    The norm itself runs in the contiguous format, which is faster in bfloat16 on a CPU
    (benchmarks/head_convs.py).
    """
    layout = torch.contiguous_format
    if maps.is_contiguous(memory_format=torch.channels_last):
        layout = torch.channels_last
    normed: Tensor = norm(maps.contiguous())
    return normed.contiguous(memory_format=layout)


class FPN(nn.Module):
    """The pyramid of Lin et al. (arXiv:1612.03144) at strides 8 to 64, with group norms.

    As in PoseDet's code it has no activations, and the coarsest level is a convolution of the
    backbone's last map.
    """

    strides = (8, 16, 32, 64)

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        used = channels[1:]  # not the map at stride 4
        self.lateral_convs = nn.ModuleList(Conv(c, width, 1) for c in used)
        finer = [Conv(width, width, 3) for _ in used]
        self.fpn_convs = nn.ModuleList([*finer, Conv(used[-1], width, 3, stride=2)])

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        levels = [lateral(m) for lateral, m in zip(self.lateral_convs, maps[1:], strict=True)]
        for finer in range(len(levels) - 2, -1, -1):
            size = levels[finer].shape[-2:]
            levels[finer] = levels[finer] + F.interpolate(levels[finer + 1], size, mode="nearest")
        return tuple(conv(m) for conv, m in zip(self.fpn_convs, [*levels, maps[-1]], strict=True))


class HRFPN(nn.Module):
    """HRNet's pyramid (Sun et al., arXiv:1904.04514) at strides 8 to 32.

    As in PoseDet's code the joined streams are reduced and average-pooled over 1, 2 and 4 cells;
    each level is a convolution of one of these maps with stride 2 and a bias, without a norm.
    """

    strides = (8, 16, 32)

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.reduction_conv = Conv(sum(channels), width, 1, norm=False)
        self.fpn_convs = nn.ModuleList(
            Conv(width, width, 3, stride=2, norm=False) for _ in self.strides
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        [reduced] = joined_conv(maps, (self.reduction_conv.conv,))
        pooled = [reduced, *(F.avg_pool2d(reduced, cells) for cells in (2, 4))]
        return tuple(conv(level) for conv, level in zip(self.fpn_convs, pooled, strict=True))
