"""A convolution whose K taps lie anywhere: K features, read between cells, become one vector.

Two ways to the same values. Both read in float32: bfloat16 would miss points by cells.

Shapes: features (B, C, h, w); offsets (B, 2K, h, w), y1, x1, y2, x2, ... in cells from each cell;
weight (C', C, 1, K); the result is (B, C', h, w). Beyond the map's outer cells features fade to 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from posebench.layers.precision import precise, unrounded


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
    with unrounded(features.device):
        shifts = precise(offsets) - taps.flatten()[:, None, None]
        found: Tensor = deform_conv2d(
            precise(features), shifts, precise(weight), padding=(0, reach)
        )
    return found.to(features.dtype)


def sampled_point_conv(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Return it as samples and one product of matrices.

    On a CPU in a third of torchvision's time, with gradients in a fifth.
    """
    images, _, height, width = features.shape
    yx = precise(offsets).view(images, -1, 2, height, width)
    x = yx[:, :, 1] + torch.arange(width, device=offsets.device)
    y = yx[:, :, 0] + torch.arange(height, device=offsets.device)[:, None]
    # -1 and 1 are the map's outer edges.
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1).flatten(2, 3)
    with unrounded(features.device):
        samples = F.grid_sample(precise(features), grid, align_corners=False)  # (B, C, K, hw)
    # In bfloat16 where autocast has it, as any convolution.
    found = weight.flatten(1).to(samples.dtype) @ samples.flatten(1, 2)
    return found.view(images, -1, height, width).to(features.dtype)
