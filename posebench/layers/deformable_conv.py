"""Convolutions whose taps lie anywhere on a map, on a CPU.

torchvision's deformable convolution stores the samples of all cells, channel by channel, before it
multiplies them with the weight. Here a compiled loop reads the channels of a cell side by side, and
the samples of a block of cells are multiplied while they are in the cache. Values are the same:
features beyond the border are 0, also at infinity. A point that is not a number makes its cell's
values NaN, where torchvision reads memory that is not the map's. Other devices, float64 and
recorded graphs need another form, which the methods choose: see `can_convolve` and
`can_differentiate`.

Shapes: B images, G groups with C channels each, E outputs of a group, H x W cells of a map, N sets
of K points. A point is x, y in cells; the cell (x, y) lies at (x, y).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.layers.portable import portable
from posebench.layers.precision import to_float32
from posebench.layers.sampling import compiled_loops_allowed

# Samples that are multiplied at once: few bytes, so that they stay in the cache, but cells enough
# for the matrix product to be as fast as a large one, since it rearranges the weight each time.
BLOCK_BYTES = 2 * 2**20
BLOCK_CELLS = 256
LANES = 8  # float32 numbers of a register; channels are filled up to a multiple


def can_convolve(*inputs: Tensor) -> bool:
    """Return whether `deformable_conv`, which has no gradients, can convolve the inputs."""
    differentiated = torch.is_grad_enabled() and any(value.requires_grad for value in inputs)
    return not differentiated and can_differentiate(*inputs)


def can_differentiate(*inputs: Tensor) -> bool:
    """Return whether `differentiable_conv` can convolve the inputs.

    It needs a CPU and at most float32 precision. Tracing, compiling, exporting and counting need
    PyTorch's own operations.
    """
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if traced or torch.compiler.is_compiling() or portable() or not compiled_loops_allowed():
        return False
    return all(value.device.type == "cpu" and value.dtype != torch.float64 for value in inputs)


def deformable_conv(
    features: Tensor, points_of: Callable[[int, int], Tensor], weight: Tensor, groups: int = 1
) -> Tensor:
    """Return the convolution (B, G E, H, W) of every cell at its own points.

    Args:
        features: (B, G C, H, W); channels-last maps of one group are not copied.
        points_of: (image, group) -> (H W, K, 2), the points of each cell in a kernel's order, row
            by row. All points of all groups at once would be many times larger than the features.
        weight: (G E, C, h, w) with K = h w taps.
        groups: each has its own channels, points and outputs.

    Source: Dai et al. (arXiv:1703.06211), Eq. 2 and 3, without the regular grid: points are given
    as such and not by their offsets.
    """
    batch, _, height, width = features.shape
    cells, taps = cells_of(features, groups), taps_of(weight, groups)
    layout = torch.contiguous_format
    if features.is_contiguous(memory_format=torch.channels_last):
        layout = torch.channels_last
    convolved = torch.empty(
        batch, len(weight), height, width, dtype=product_dtype(), memory_format=layout
    )
    for image in range(batch):
        rows = convolved[image].view(groups, -1, height * width)
        for group in range(groups):
            out = rows[group].T
            conv_at_points(cells[image, group], points_of(image, group), taps[group], out)
    return convolved.to(features.dtype)


def differentiable_conv(
    features: Tensor, points: Tensor, weight: Tensor, groups: int = 1
) -> Tensor:
    """Return what `deformable_conv` does, with gradients, in float32.

    Between two cells a sample is linear in the point's position; at a cell the gradient is that
    towards larger x and y, as torchvision's.

    Args:
        features: (B, G C, H, W).
        points: (B, G, H W, K, 2).
        weight: (G E, C, h, w) with K = h w taps.
        groups: each has its own channels, points and outputs.
    """
    with torch.autocast("cpu", enabled=False):
        convolved: Tensor = _DifferentiableConv.apply(
            to_float32(features), to_float32(points), to_float32(weight), groups
        )
    return convolved.to(features.dtype)


class _DifferentiableConv(torch.autograd.Function):
    """The compiled loops as one operation of autograd; samples are computed again backward."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, points: Tensor, weight: Tensor, groups: int) -> Tensor:
        points = points.contiguous()
        ctx.save_for_backward(features, points, weight)
        ctx.groups = groups
        return deformable_conv(features, lambda image, group: points[image, group], weight, groups)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from posebench.layers.deformable_conv_numba import sample, sample_backward

        features, points, weight = ctx.saved_tensors
        batch, channels, height, width = features.shape
        groups, own = ctx.groups, channels // ctx.groups
        cells, taps = cells_of(features, groups), taps_of(weight, groups)
        by_cells, by_points = torch.zeros_like(cells), torch.empty_like(points)
        by_taps = torch.zeros_like(taps)
        samples = cells.new_empty(*points.shape[2:4], cells.shape[-1])
        by_samples = cells.new_empty(groups, *samples.shape)
        by_rows = gradient.reshape(batch, groups, -1, height * width)
        for image in range(batch):
            for group in range(groups):
                sample(cells[image, group], points[image, group], samples)
                by_row = by_rows[image, group]  # (E, H W)
                by_taps[group].addmm_(by_row, samples.flatten(1))
                torch.mm(by_row.T, taps[group], out=by_samples[group].flatten(1))
            sample_backward(
                cells[image], points[image], by_samples, by_cells[image], by_points[image]
            )
        by_features = by_cells[..., :own].permute(0, 1, 4, 2, 3).reshape(features.shape)
        kernel = by_taps.view(groups, -1, points.shape[3], cells.shape[-1])[..., :own]
        by_weight = kernel.transpose(2, 3).reshape(weight.shape)
        return by_features, by_points, by_weight, None


def cells_of(features: Tensor, groups: int = 1) -> Tensor:
    """Return the channels of each group's cells side by side, (B, G, H, W, C) float32.

    Zeros fill the channels up to a multiple of LANES. Channels-last maps may not need a copy.
    """
    batch, channels, height, width = features.shape
    own = channels // groups
    maps = to_float32(features).view(batch, groups, own, height, width)
    return _filled(maps.permute(0, 1, 3, 4, 2)).contiguous()


def taps_of(weight: Tensor, groups: int = 1) -> Tensor:
    """Return a kernel (G E, C, h, w) as the groups' matrices (G, E, K C), filled up like cells."""
    taps = _filled(to_float32(weight).flatten(2).transpose(1, 2))
    return taps.reshape(groups, -1, taps.shape[1] * taps.shape[2]).to(product_dtype())


def _filled(values: Tensor) -> Tensor:
    missing = -values.shape[-1] % LANES
    return F.pad(values, (0, missing)) if missing else values


def product_dtype() -> torch.dtype:
    """Return float32, or under autocast the type in which it computes matrix products."""
    autocast = torch.is_autocast_enabled("cpu")
    return torch.get_autocast_dtype("cpu") if autocast else torch.float32


def conv_at_points(
    cells: Tensor, points: Tensor, taps: Tensor, out: Tensor | None = None
) -> Tensor:
    """Return the convolution (N, E) at N sets of points of one map.

    Args:
        cells: (H, W, C) of one image and group, from `cells_of`.
        points: (N, K, 2).
        taps: (E, K C) of one group, from `taps_of`.
        out: (N, E) to be written, of the taps' type.
    """
    # Importing numba takes long, so only a network that samples on a CPU pays for it.
    from posebench.layers.deformable_conv_numba import sample

    count, kernel, _ = points.shape
    channels = cells.shape[-1]
    if out is None:
        out = taps.new_empty(count, len(taps))
    points = to_float32(points).contiguous()
    block = max(BLOCK_BYTES // (4 * kernel * channels), BLOCK_CELLS)
    samples = cells.new_empty(min(block, count), kernel, channels)
    for first in range(0, count, block):
        own = points[first : first + block]
        sample(cells, own, samples)
        columns = samples[: len(own)].flatten(1).to(taps.dtype)
        torch.mm(columns, taps.T, out=out[first : first + block])
    return out
