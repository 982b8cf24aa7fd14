"""The adaptive blocks that regress each keypoint from features of its own.

An adaptive convolution reads its 3 x 3 taps where an affine map of the regular grid puts them. The
map is predicted at every cell, so that a keypoint's layers look where the keypoint is. All
keypoints have the same layers with weights of their own: they are one layer with a group per
keypoint, and the convolution of all of them is one operation.

Shapes: B images, G keypoints with C channels each, H x W cells, 9 taps.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from posebench.layers.deformable_conv import (
    can_convolve,
    can_differentiate,
    deformable_conv,
    differentiable_conv,
)
from posebench.layers.precision import no_autocast, to_float32

# Numbers of the map at a cell, as published: the matrix row by row, y before x, then the shift.
MATRIX, SHIFT = 4, 2
TAPS = 9


class AdaptiveBlock(nn.Module):
    """An adaptive convolution of every keypoint's features, with a shortcut. Source: Sec. 3.2."""

    def __init__(self, keypoints: int, channels: int) -> None:
        super().__init__()
        total = keypoints * channels
        same: dict[str, Any] = {"kernel_size": 3, "padding": 1, "groups": keypoints}
        self.matrix = nn.Conv2d(total, MATRIX * keypoints, **same)
        self.shift = nn.Conv2d(total, SHIFT * keypoints, **same)
        self.conv = AdaptiveConv(total, total, bias=False, **same)
        self.bn = nn.BatchNorm2d(total)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, G C, H, W) like those that are given."""
        convolved = self.conv(features, self.maps(features))
        return F.relu(self.bn(convolved) + features)

    def maps(self, features: Tensor) -> Tensor:
        """Return the affine map of each keypoint and cell (B, G 6, H, W), in float32 at least.

        Both layers are one convolution.
        """
        groups, layers = self.matrix.groups, (self.matrix, self.shift)
        weights = [own.weight.view(groups, -1, *own.weight.shape[1:]) for own in layers]
        biases = [own.bias.view(groups, -1) for own in layers if own.bias is not None]
        weight = to_float32(torch.cat(weights, 1).flatten(0, 1))
        bias = to_float32(torch.cat(biases, 1).flatten())
        with no_autocast(features.device):
            return F.conv2d(to_float32(features), weight, bias, padding=1, groups=groups)


class AdaptiveConv(nn.Conv2d):
    """A 3 x 3 convolution whose taps lie where affine maps put them. Source: Eq. 3 and 4."""

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:  # type: ignore[override]
        """Return the convolved features (B, G C, H, W); they are 0 beyond the border.

        Args:
            features: (B, G C, H, W).
            maps: (B, G 6, H, W), cells.
        """
        if can_convolve(features, maps, self.weight):
            return self._compiled(features, maps)
        if can_differentiate(features, maps, self.weight):
            return self._differentiable(features, maps)
        with no_autocast(features.device):
            convolved: Tensor = deform_conv2d(
                to_float32(features),
                sampling_offsets(to_float32(maps), self.groups),
                to_float32(self.weight),
                None if self.bias is None else to_float32(self.bias),
                padding=(1, 1),
            )
        return convolved.to(features.dtype)

    def _compiled(self, features: Tensor, maps: Tensor) -> Tensor:
        """Return the convolution by a compiled loop, which has no gradients."""
        cells, by_number = grid(maps), taps_by_number(maps)
        own_maps = by_group(maps, self.groups).flatten(3)  # (B, G, 6, H W)

        def points(image: int, group: int) -> Tensor:
            moved = torch.addmm(cells, own_maps[image, group].T, by_number)
            return moved.view(-1, TAPS, 2)

        return self._biased(deformable_conv(features, points, self.weight, self.groups))

    def _differentiable(self, features: Tensor, maps: Tensor) -> Tensor:
        """Return the convolution by compiled loops, of all points at once."""
        maps = to_float32(maps)
        own_maps = by_group(maps, self.groups).flatten(3)
        moved = own_maps.transpose(2, 3) @ taps_by_number(maps) + grid(maps)
        points = moved.view(*moved.shape[:3], TAPS, 2)
        return self._biased(differentiable_conv(features, points, self.weight, self.groups))

    def _biased(self, convolved: Tensor) -> Tensor:
        return convolved if self.bias is None else convolved + self.bias[:, None, None]


def by_group(maps: Tensor, groups: int) -> Tensor:
    """Return maps (B, G C, H, W) as (B, G, C, H, W)."""
    return maps.reshape(maps.shape[0], groups, -1, *maps.shape[2:])


def grid(maps: Tensor) -> Tensor:
    """Return the cells (H W, 18), nine times x, y, row by row, of maps (B, G 6, H, W)."""
    height, width = maps.shape[-2:]
    y, x = torch.meshgrid(
        *(torch.arange(side, dtype=maps.dtype) for side in (height, width)), indexing="ij"
    )
    return torch.stack([x, y], -1).flatten(0, 1).repeat(1, TAPS)


def regular_taps(like: Tensor) -> Tensor:
    """Return the taps (9, 2) y, x of a regular convolution, row by row."""
    steps = torch.arange(-1.0, 2.0, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).flatten(0, 1)


def taps_by_number(maps: Tensor) -> Tensor:
    """Return how x and y of the nine taps depend on the six numbers of a map, (6, 18)."""
    taps = regular_taps(maps)
    in_x, in_y = taps.new_zeros(2, MATRIX + SHIFT, len(taps))
    in_y[:2], in_x[2:4] = taps.T, taps.T
    in_y[4], in_x[5] = 1, 1
    return torch.stack([in_x, in_y], -1).flatten(1)


def sampling_offsets(maps: Tensor, groups: int) -> Tensor:
    """Return how far the taps lie from those of a regular convolution.

    Args:
        maps: (B, G 6, H, W).
        groups: keypoints.

    Returns:
        (B, G 18, H, W) in cells, tap by tap, y before x.
    """
    matrix, shift = torch.split(by_group(maps, groups), [MATRIX, SHIFT], 2)
    taps = regular_taps(maps)
    rows = matrix.view(*matrix.shape[:2], 2, 2, *maps.shape[2:])
    moved: Tensor = torch.einsum("bgijhw,tj->bgtihw", rows, taps)
    offsets = moved - taps[:, :, None, None] + shift[:, :, None]
    return offsets.flatten(1, 3)
