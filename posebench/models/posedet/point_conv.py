"""A convolution whose K taps lie anywhere: K features, read between cells, become one vector.

Everywhere at once, in two ways to the same values, or for chosen cells. Features are read in
float32: bfloat16 would miss points by cells. Beyond a map's outer cells they fade to 0.

Shapes: features (B, C, h, w); offsets (B, 2K, h, w), y1, x1, y2, x2, ... in cells from each cell;
weight (C', C, 1, K); the result is (B, C', h, w).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from posebench.layers.precision import no_autocast, to_float32


def point_conv(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution in the way that suits the device."""
    # On a GPU torchvision's does not keep the samples for the gradients.
    way = deformable_point_conv if features.is_cuda else sampled_point_conv
    return way(features, offsets, weight)


def deformable_point_conv(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Return it as a deformable convolution (Dai et al., arXiv:1703.06211); K is odd."""
    points = weight.shape[-1]
    reach = points // 2
    taps = offsets.new_zeros(points, 2)
    taps[:, 1] = torch.arange(-reach, reach + 1)  # where those of a plain kernel lie
    with no_autocast(features.device):
        shifts = to_float32(offsets) - taps.flatten()[:, None, None]
        found: Tensor = deform_conv2d(
            to_float32(features), shifts, to_float32(weight), padding=(0, reach)
        )
    return found.to(features.dtype)


def sampled_point_conv(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Return it as samples and one product of matrices; on a CPU several times as fast."""
    images, _, height, width = features.shape
    device = features.device
    yx = to_float32(offsets).permute(0, 2, 3, 1).reshape(images, height, width, -1, 2)
    x = yx[..., 1] + torch.arange(width, device=device)[:, None]
    y = yx[..., 0] + torch.arange(height, device=device)[:, None, None]
    image = torch.arange(images, device=device).repeat_interleave(height * width)
    found = point_conv_at(
        [features], torch.zeros_like(image), image, torch.stack([x, y], -1).flatten(0, 2), weight
    )
    return found.view(images, height, width, -1).permute(0, 3, 1, 2)


def point_conv_at(
    levels: Sequence[Tensor], level: Tensor, image: Tensor, points: Tensor, weight: Tensor
) -> Tensor:
    """Return (N, C') of N sets of points, each in a level and an image of its own.

    Args:
        levels: features (B, C, h, w), of any h and w.
        level: (N,) numbers.
        image: (N,) numbers.
        points: (N, K, 2) x, y in cells of the level; the cell (x, y) lies at (x, y).
        weight: (C', C, 1, K).
    """
    device = points.device
    cells = torch.cat([to_float32(maps).permute(0, 2, 3, 1).flatten(0, 2) for maps in levels])
    heights, widths = torch.tensor([m.shape[-2:] for m in levels], device=device).T
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
            # As integers, so that a point that is not finite stays in the map; its share is not.
            column, row = column.long().clamp(min=0), row.long().clamp(min=0)
            column, row = column.minimum(width[:, None] - 1), row.minimum(height[:, None] - 1)
            index.append(first[:, None] + row * width[:, None] + column)
    samples = F.embedding_bag(
        torch.stack(index, -1).view(-1, 4),
        cells,
        per_sample_weights=torch.stack(shares, -1).view(-1, 4),
        mode="sum",
    )
    # In bfloat16 where autocast has it, as any convolution.
    taps = weight[:, :, 0].permute(2, 1, 0).reshape(-1, len(weight))
    found = samples.view(len(points), len(taps)) @ taps.to(samples.dtype)
    return found.to(levels[0].dtype)
