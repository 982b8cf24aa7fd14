"""Weighted sums of bilinear samples of a pyramid: what deformable attention spends its time in.

Two ways to the same numbers. On a CPU the loops are compiled: a query's samples are read and added
one after the other, and nothing is stored between. Elsewhere, and where a graph is recorded, the
sum is a gather that PyTorch has (`gathered_samples`). Sampling each level with `grid_sample`, as
published, stores every sample of every level before they are weighted and added.

Shapes: B images, Q queries, S tokens, H heads, D channels of a head, L levels, P points of a level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate
from typing import Any

import numba
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Height and width of each level's map.
Sizes = Sequence[tuple[int, int]]

_compiled_loops = ContextVar("compiled loops", default=True)


@contextmanager
def own_operations() -> Iterator[None]:
    """Have everything computed by PyTorch's own operations, for those who count them."""
    token = _compiled_loops.set(False)
    try:
        yield
    finally:
        _compiled_loops.reset(token)


def weighted_samples(
    values: Tensor, sizes: Sizes, references: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Return each query's weighted sum of bilinear samples; beyond a map's border values are zero.

    Args:
        values: (B, S, H, D), float32 or float64.
        sizes: of the levels.
        references: (B or 1, Q, L, 2) x, y in [0, 1] of a level's map; 0 is its first cell's corner.
        offsets: (B, Q, H, L, P, 2) in cells.
        weights: (B, Q, H, L, P).

    Returns:
        (B, Q, H x D).

    Source: Deformable DETR (arXiv:2010.04159), Eq. 3.
    """
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    elsewhere = values.device.type != "cpu" or traced or torch.compiler.is_compiling()
    if elsewhere or not _compiled_loops.get():
        return gathered_samples(values, sizes, references, offsets, weights)
    references = references.expand(len(values), -1, -1, -1)
    # Gradients by the references are those by the offsets, in other units, so that what is compiled
    # knows positions in cells alone.
    cells = torch.tensor([(width, height) for height, width in sizes], dtype=offsets.dtype)
    centres = references * cells - 0.5
    found: Tensor = _Compiled.apply(values, _levels(sizes), centres, offsets, weights)
    return found


def gathered_samples(
    values: Tensor, sizes: Sizes, references: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Return what `weighted_samples` does, by PyTorch's own operations.

    Each sample is the sum of four tokens, so that all samples of a query are one weighted sum of
    4 L P rows of a table: `embedding_bag` reads and adds them without storing them.
    """
    index, share = _corners(values, sizes, references, offsets, weights)
    batch, tokens, heads, depth = values.shape
    table = values.transpose(1, 2).reshape(batch * heads * tokens, depth)
    bags = batch * index.shape[1] * heads
    read = F.embedding_bag(
        index.view(bags, -1),
        table,
        mode="sum",
        per_sample_weights=share.view(bags, -1).to(table.dtype),
    )
    return read.view(batch, -1, heads * depth)


def _corners(
    values: Tensor, sizes: Sizes, references: Tensor, offsets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the table rows (B, Q, H, L, P, 4) around each sample, and their shares of it."""
    batch, tokens, heads, _ = values.shape
    device = values.device
    size = torch.tensor([(width, height) for height, width in sizes], device=device)  # (L, 2)
    starts = [0, *accumulate(height * width for height, width in sizes)][:-1]
    positions = (references * size - 0.5)[:, :, None, :, None] + offsets
    cells = positions.floor()
    fraction = positions - cells
    last = size[:, None] - 1  # (L, 1, 2)
    near = cells.clamp(min=0).minimum(last).int()
    far = (cells + 1).clamp(min=0).minimum(last).int()
    # A neighbour beyond the border counts as zero: its cell is clamped, and its share is 0.
    near_share = (1 - fraction) * ((cells >= 0) & (cells <= last))
    far_share = fraction * ((cells >= -1) & (cells < last))
    images = torch.arange(batch, device=device)[:, None] * heads
    first = (images + torch.arange(heads, device=device)) * tokens  # (B, H)
    start = (first[:, None, :, None] + torch.tensor(starts, device=device))[..., None].int()
    widths = size[:, None, 0].int()
    rows = [start + cell[..., 1] * widths for cell in (near, far)]
    index = torch.stack([row + cell[..., 0] for row in rows for cell in (near, far)], -1)
    down = [weights * share[..., 1] for share in (near_share, far_share)]
    share = torch.stack([d * s[..., 0] for d in down for s in (near_share, far_share)], -1)
    return index, share


def _levels(sizes: Sizes) -> NDArray[np.int64]:
    """Return height, width and first token of each level (L, 3)."""
    starts = [0, *accumulate(height * width for height, width in sizes)]
    return np.array([(*size, start) for size, start in zip(sizes, starts, strict=False)])


class _Compiled(torch.autograd.Function):
    """The compiled loops, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        levels: NDArray[np.int64],
        centres: Tensor,
        offsets: Tensor,
        weights: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(values, centres, offsets, weights)
        ctx.levels = levels
        batch, queries = offsets.shape[:2]
        output = values.new_empty(batch, queries, *values.shape[2:])
        _share_threads()
        _read(
            _array(values), _array(centres), _array(offsets), _array(weights), levels,
            output.numpy(),
        )  # fmt: skip
        return output.flatten(2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, centres, offsets, weights = ctx.saved_tensors
        by_values = torch.zeros_like(values, memory_format=torch.contiguous_format)
        by_offsets = torch.empty_like(offsets, memory_format=torch.contiguous_format)
        by_weights = torch.empty_like(weights, memory_format=torch.contiguous_format)
        _share_threads()
        _spread(
            _array(values), _array(centres), _array(offsets), _array(weights), ctx.levels,
            _array(gradient.view(*offsets.shape[:3], -1)),
            by_values.numpy(), by_offsets.numpy(), by_weights.numpy(),
        )  # fmt: skip
        by_centres = by_offsets.sum((2, 4)) if ctx.needs_input_grad[2] else None
        return by_values, None, by_centres, by_offsets, by_weights


def _share_threads() -> None:
    """Have the loops run on as many threads as the network around them."""
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(torch.get_num_threads(), most))


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().contiguous().numpy()
    return array


# Comparisons must hold for what is not a number (so no `fastmath=True`), or it would be a cell.
_FAST = {"reassoc", "contract", "nsz"}

# An int beside a float32 would make all arithmetic float64, which takes a third longer.
_ZERO, _ONE = np.float32(0), np.float32(1)


@numba.njit(cache=True, parallel=True, fastmath=_FAST, error_model="numpy")
def _read(values, centres, offsets, weights, levels, output):  # type: ignore[no-untyped-def]
    """Write the sums (B, Q, H, D)."""
    _, queries, heads, _, points, _ = offsets.shape
    batch = len(values)
    depth = values.shape[3]
    for item in numba.prange(batch * queries):
        b, q = item // queries, item % queries
        for h in range(heads):
            total = output[b, q, h]
            for d in range(depth):
                total[d] = 0
            for level in range(len(levels)):
                height, width, start = levels[level]
                for p in range(points):
                    x = centres[b, q, level, 0] + offsets[b, q, h, level, p, 0]
                    y = centres[b, q, level, 1] + offsets[b, q, h, level, p, 1]
                    if not (x > -1 and y > -1 and x < width and y < height):
                        continue
                    west, north = np.floor(x), np.floor(y)
                    left, top = int(west), int(north)
                    along, down = x - west, y - north
                    share = weights[b, q, h, level, p]
                    nothing = share * _ZERO
                    low = share * down
                    south_east = low * along
                    south_west = low - south_east
                    north_east = share * along - south_east
                    north_west = share - low - north_east
                    # A neighbour beyond the border counts as zero; another stands in for it.
                    right, bottom = left + 1, top + 1
                    if left < 0:
                        left, north_west, south_west = 0, nothing, nothing
                    if right >= width:
                        right, north_east, south_east = left, nothing, nothing
                    if top < 0:
                        top, north_west, north_east = 0, nothing, nothing
                    if bottom >= height:
                        bottom, south_west, south_east = top, nothing, nothing
                    upper, lower = start + top * width, start + bottom * width
                    one = values[b, upper + left, h]
                    two = values[b, upper + right, h]
                    three = values[b, lower + left, h]
                    four = values[b, lower + right, h]
                    for d in range(depth):
                        total[d] += (
                            north_west * one[d]
                            + north_east * two[d]
                            + south_west * three[d]
                            + south_east * four[d]
                        )


@numba.njit(cache=True, parallel=True, fastmath=_FAST, error_model="numpy")
def _spread(  # type: ignore[no-untyped-def]
    values, centres, offsets, weights, levels, gradient, by_values, by_offsets, by_weights
):
    """Write the gradients by values, to which 0 was written before, offsets and weights."""
    _, queries, heads, _, points, _ = offsets.shape
    batch = len(values)
    depth = values.shape[3]
    for item in numba.prange(batch * heads):  # heads share no channels, so none waits for another
        b, h = item // heads, item % heads
        for q in range(queries):
            own = gradient[b, q, h]
            for level in range(len(levels)):
                height, width, start = levels[level]
                for p in range(points):
                    x = centres[b, q, level, 0] + offsets[b, q, h, level, p, 0]
                    y = centres[b, q, level, 1] + offsets[b, q, h, level, p, 1]
                    nothing = x * _ZERO
                    by_x, by_y, by_weight = nothing, nothing, nothing
                    if x > -1 and y > -1 and x < width and y < height:
                        west, north = np.floor(x), np.floor(y)
                        left, top = int(west), int(north)
                        along, down = x - west, y - north
                        share = weights[b, q, h, level, p]
                        for corner in range(4):
                            row, column = top + corner // 2, left + corner % 2
                            if row < 0 or row >= height or column < 0 or column >= width:
                                continue
                            way_x = _ONE if corner % 2 else -_ONE
                            way_y = _ONE if corner // 2 else -_ONE
                            near_x = along if corner % 2 else _ONE - along
                            near_y = down if corner // 2 else _ONE - down
                            token = start + row * width + column
                            value, by_value = values[b, token, h], by_values[b, token, h]
                            amount = share * near_x * near_y
                            product = nothing
                            for d in range(depth):
                                product += own[d] * value[d]
                                by_value[d] += amount * own[d]
                            by_weight += near_x * near_y * product
                            by_x += way_x * near_y * product
                            by_y += way_y * near_x * product
                        by_x *= share
                        by_y *= share
                    by_offsets[b, q, h, level, p, 0] = by_x
                    by_offsets[b, q, h, level, p, 1] = by_y
                    by_weights[b, q, h, level, p] = by_weight
