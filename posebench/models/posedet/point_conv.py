"""The pose embedding: a convolution whose K taps lie at the keypoints of a pose.

Features are interpolated at K points and combined to one vector. Points are computed in float32,
since bfloat16 would misplace them by whole cells. Outside the map features are 0.

Shapes: features (B, C, h, w); offsets (B, 2K, h, w), y1, x1, y2, x2, ... in cells from each cell;
weight (E, C, 1, K); N candidates, each with one set of K points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from posebench.layers.deformable_conv import (
    can_convolve,
    cells_of,
    conv_at_points,
    deformable_conv,
    taps_of,
)
from posebench.layers.portable import portable
from posebench.layers.precision import no_autocast, to_float32
from posebench.transfer import to_device


class PoseEmbedding(nn.Module):
    """One vector from the features at K points. Source: Sec. 3.1.

    Published as a deformable convolution with a 1 x K kernel whose taps are moved to the points.
    """

    def __init__(self, width: int, embedding: int, points: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(embedding, width, 1, points))
        nn.init.normal_(self.weight, std=std)

    def forward(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Return the embeddings (B, E, h, w) of a level's candidates.

        Args:
            features: (B, C, h, w).
            offsets: (B, 2K, h, w), cells.
        """
        return F.relu(point_conv(features, offsets, self.weight), inplace=True)

    def at(
        self, features: Sequence[Tensor], level: Tensor, image: Tensor, points: Tensor
    ) -> Tensor:
        """Return the embeddings (N, E) of selected candidates; arguments as `point_conv_at`."""
        return F.relu(point_conv_at(features, level, image, points, self.weight), inplace=True)


def point_conv(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution (B, E, h, w) at every cell, with the better implementation per device.

    On a CPU sampling and a matrix product are several times faster, without gradients in a compiled
    loop; on a GPU torchvision's convolution needs less memory, since it does not keep the samples
    for the backward pass. Other runtimes have a fast operator for it.
    """
    if can_convolve(features, offsets, weight):
        return compiled_point_conv(features, offsets, weight)
    if features.is_cuda or portable():
        return deformable_point_conv(features, offsets, weight)
    return sampled_point_conv(features, offsets, weight)


def deformable_point_conv(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Return `point_conv` as a deformable convolution (Dai et al., arXiv:1703.06211); K is odd."""
    points = weight.shape[-1]
    reach = points // 2
    taps = offsets.new_zeros(points, 2)
    # The positions of the taps of a regular kernel.
    taps[:, 1] = torch.arange(-reach, reach + 1, device=offsets.device)
    with no_autocast(features.device):
        shifts = to_float32(offsets) - taps.flatten()[:, None, None]
        values: Tensor = deform_conv2d(
            to_float32(features), shifts, to_float32(weight), padding=(0, reach)
        )
    return values.to(features.dtype)


def sampled_point_conv(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Return `point_conv` computed by sampling and one matrix product."""
    images, _, height, width = features.shape
    points = points_of_cells(offsets).flatten(0, 1)
    image = torch.arange(images, device=features.device).repeat_interleave(height * width)
    values = _sampled_at([features], torch.zeros_like(image), image, points, weight)
    return values.view(images, height, width, -1).permute(0, 3, 1, 2)


def compiled_point_conv(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Return `point_conv` in blocks of cells, sampled by a compiled loop; it has no gradients."""
    points = points_of_cells(offsets)
    return deformable_conv(features, lambda image, _: points[image], weight)


def points_of_cells(offsets: Tensor) -> Tensor:
    """Return the points (B, h w, K, 2), x and y, of offsets (B, 2K, h, w) from each cell."""
    images, _, height, width = offsets.shape
    yx = to_float32(offsets).permute(0, 2, 3, 1).reshape(images, height, width, -1, 2)
    x = yx[..., 1] + torch.arange(width, device=offsets.device)[:, None]
    y = yx[..., 0] + torch.arange(height, device=offsets.device)[:, None, None]
    return torch.stack([x, y], -1).flatten(1, 2)


def point_conv_at(
    levels: Sequence[Tensor], level: Tensor, image: Tensor, points: Tensor, weight: Tensor
) -> Tensor:
    """Return the convolution (N, E) at N sets of points, each in one level and image.

    Args:
        levels: features (B, C, h, w) of each level.
        level: (N,) index of each candidate's level.
        image: (N,) index of each candidate's image.
        points: (N, K, 2) x, y in cells of the level; the cell (x, y) lies at (x, y).
        weight: (E, C, 1, K).
    """
    if not can_convolve(*levels, points, weight):
        return _sampled_at(levels, level, image, points, weight)
    [taps] = taps_of(weight)
    values = taps.new_empty(len(points), len(taps))
    for number, maps in enumerate(levels):
        for own_image, [cells] in enumerate(cells_of(maps)):
            own = ((level == number) & (image == own_image)).nonzero()[:, 0]
            values[own] = conv_at_points(cells, points[own], taps)
    found: Tensor = values.to(levels[0].dtype)
    return found


def _sampled_at(
    levels: Sequence[Tensor], level: Tensor, image: Tensor, points: Tensor, weight: Tensor
) -> Tensor:
    """Return `point_conv_at` by PyTorch's operations, which have gradients."""
    device = points.device
    cells = torch.cat([to_float32(maps).permute(0, 2, 3, 1).flatten(0, 2) for maps in levels])
    [sides] = to_device([torch.tensor([maps.shape[-2:] for maps in levels])], device)
    heights, widths = sides.T
    counts = len(levels[0]) * heights * widths
    height, width = heights[level], widths[level]
    first = (counts.cumsum(0) - counts)[level] + image * height * width

    x, y = points.unbind(-1)
    left, top = x.detach().floor(), y.detach().floor()
    index, shares = [], []
    for down in (0, 1):
        for right in (0, 1):
            column, row = left + right, top + down
            inside = (column >= 0) & (column < width[:, None])
            inside &= (row >= 0) & (row < height[:, None])
            across = x - left if right else 1 - (x - left)
            along = y - top if down else 1 - (y - top)
            shares.append(across * along * inside)
            # Clamped as integers, so that a point that is not finite still indexes a cell. Its
            # share is not finite either, so the loss shows it.
            column, row = column.long().clamp(min=0), row.long().clamp(min=0)
            column, row = column.minimum(width[:, None] - 1), row.minimum(height[:, None] - 1)
            index.append(first[:, None] + row * width[:, None] + column)
    samples = F.embedding_bag(
        torch.stack(index, -1).view(-1, 4),
        cells,
        per_sample_weights=torch.stack(shares, -1).view(-1, 4),
        mode="sum",
    )
    # Autocast computes this product in bfloat16, like any convolution.
    taps = weight[:, :, 0].permute(2, 1, 0).reshape(-1, len(weight))
    values = samples.view(len(points), len(taps)) @ taps.to(samples.dtype)
    return values.to(levels[0].dtype)
