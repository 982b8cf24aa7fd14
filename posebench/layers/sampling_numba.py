"""The loops of `layers.sampling` compiled by numba for a CPU, forward and backward.

Imported when they first run, since importing numba takes long. The CPU's cores share the images'
queries forward and the images' heads backward.

Shapes: B images, Q queries, S tokens, H heads, D channels of a head, L levels, P points of a level.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.layers.numba_threads import match_torch_threads

# Without "nnan", which `fastmath=True` holds: a NaN coordinate must fail every comparison, or it
# would be read as a cell.
_FAST = {"reassoc", "contract", "nsz"}

# An int beside a float32 would make all arithmetic float64, which takes a third longer.
_ZERO, _ONE = np.float32(0), np.float32(1)


def forward(
    values: Tensor, levels: NDArray[np.int64], centres: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Return each query's weighted sums of samples (B, Q, H, D).

    Args:
        values: (B, S, H, D), float32 or float64.
        levels: (L, 3), height, width and first token of each level.
        centres: (B, Q, L, 2) x, y in cells, to which offsets are added; 0 is a cell's centre.
        offsets: (B, Q, H, L, P, 2) in cells.
        weights: (B, Q, H, L, P).
    """
    output = values.new_empty(*offsets.shape[:2], *values.shape[2:])
    match_torch_threads()
    _sample(_array(values), _array(centres), _array(offsets), _array(weights), levels,
            output.numpy())  # fmt: skip
    return output


def backward(
    values: Tensor,
    levels: NDArray[np.int64],
    centres: Tensor,
    offsets: Tensor,
    weights: Tensor,
    gradient: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of values, offsets and weights.

    Args:
        gradient: (B, Q, H, D), of the sums.
    """
    value_gradients = torch.zeros_like(values, memory_format=torch.contiguous_format)
    offset_gradients = torch.empty_like(offsets, memory_format=torch.contiguous_format)
    weight_gradients = torch.empty_like(weights, memory_format=torch.contiguous_format)
    match_torch_threads()
    _sample_backward(
        _array(values), _array(centres), _array(offsets), _array(weights), levels,
        _array(gradient),
        value_gradients.numpy(), offset_gradients.numpy(), weight_gradients.numpy(),
    )  # fmt: skip
    return value_gradients, offset_gradients, weight_gradients


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().contiguous().numpy()
    return array


@numba.njit(cache=True, parallel=True, fastmath=_FAST, error_model="numpy")
def _sample(values, centres, offsets, weights, levels, output):  # type: ignore[no-untyped-def]
    """Write the sums (B, Q, H, D) into `output`."""
    _, queries, heads, _, points, _ = offsets.shape
    batch = len(values)
    for item in numba.prange(batch * queries):
        b, q = item // queries, item % queries
        for h in range(heads):
            total = output[b, q, h]
            total[:] = 0
            for level in range(len(levels)):
                for p in range(points):
                    x = centres[b, q, level, 0] + offsets[b, q, h, level, p, 0]
                    y = centres[b, q, level, 1] + offsets[b, q, h, level, p, 1]
                    _add_sample(values, b, h, x, y, levels[level], weights[b, q, h, level, p],
                                total)  # fmt: skip


# inline="always": as a function that LLVM inlines it takes twice as long.
@numba.njit(inline="always", fastmath=_FAST, error_model="numpy")
def _add_sample(values, b, h, x, y, level, weight, total):  # type: ignore[no-untyped-def]
    """Add the weighted bilinear sample at x, y of one level to `total` (D,)."""
    height, width, start = level
    if not (x > -1 and y > -1 and x < width and y < height):
        return
    west, north = np.floor(x), np.floor(y)
    left, top = int(west), int(north)
    along, down = x - west, y - north
    nothing = weight * _ZERO
    low = weight * down
    south_east = low * along
    south_west = low - south_east
    north_east = weight * along - south_east
    north_west = weight - low - north_east
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
    for d in range(len(total)):
        total[d] += (
            north_west * one[d] + north_east * two[d] + south_west * three[d] + south_east * four[d]
        )


@numba.njit(cache=True, parallel=True, fastmath=_FAST, error_model="numpy")
def _sample_backward(  # type: ignore[no-untyped-def]
    values, centres, offsets, weights, levels, gradient,
    value_gradients, offset_gradients, weight_gradients,
):  # fmt: skip
    """Write the gradients of values, which hold zeros before, offsets and weights."""
    _, queries, heads, _, points, _ = offsets.shape
    batch = len(values)
    for item in numba.prange(batch * heads):  # heads share no channels, so none waits for another
        b, h = item // heads, item % heads
        for q in range(queries):
            for level in range(len(levels)):
                for p in range(points):
                    x = centres[b, q, level, 0] + offsets[b, q, h, level, p, 0]
                    y = centres[b, q, level, 1] + offsets[b, q, h, level, p, 1]
                    by_x, by_y, by_weight = _sample_gradients(
                        values, b, h, x, y, levels[level], weights[b, q, h, level, p],
                        gradient[b, q, h], value_gradients,
                    )  # fmt: skip
                    offset_gradients[b, q, h, level, p, 0] = by_x
                    offset_gradients[b, q, h, level, p, 1] = by_y
                    weight_gradients[b, q, h, level, p] = by_weight


@numba.njit(inline="always", fastmath=_FAST, error_model="numpy")
def _sample_gradients(  # type: ignore[no-untyped-def]
    values, b, h, x, y, level, weight, gradient, value_gradients
):
    """Return one sample's gradients by x, y and its weight; add those of the four values."""
    height, width, start = level
    nothing = x * _ZERO
    by_x, by_y, by_weight = nothing, nothing, nothing
    if x > -1 and y > -1 and x < width and y < height:
        west, north = np.floor(x), np.floor(y)
        left, top = int(west), int(north)
        along, down = x - west, y - north
        for corner in range(4):
            row, column = top + corner // 2, left + corner % 2
            if row < 0 or row >= height or column < 0 or column >= width:
                continue
            way_x = _ONE if corner % 2 else -_ONE
            way_y = _ONE if corner // 2 else -_ONE
            near_x = along if corner % 2 else _ONE - along
            near_y = down if corner // 2 else _ONE - down
            token = start + row * width + column
            value, value_gradient = values[b, token, h], value_gradients[b, token, h]
            amount = weight * near_x * near_y
            product = nothing
            for d in range(len(gradient)):
                product += gradient[d] * value[d]
                value_gradient[d] += amount * gradient[d]
            by_weight += near_x * near_y * product
            by_x += way_x * near_y * product
            by_y += way_y * near_x * product
        by_x *= weight
        by_y *= weight
    return by_x, by_y, by_weight
