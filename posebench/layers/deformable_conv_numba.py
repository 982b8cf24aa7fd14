"""The compiled loops of `layers.deformable_conv`.

Imported when they first run, since importing numba takes long.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posebench.layers.numba_threads import match_torch_threads

# Without "nnan" and "ninf", which `fastmath=True` holds: points may be neither numbers nor finite.
_FAST = {"reassoc", "contract", "nsz"}

# An int beside a float32 would make all arithmetic float64.
_ZERO, _ONE = np.float32(0), np.float32(1)
_CHUNK = 256  # points that are prepared together


def sample(cells: Tensor, points: Tensor, samples: Tensor) -> None:
    """Write the bilinear samples of a map at points.

    Args:
        cells: (H, W, C) float32, contiguous; 0 beyond the border.
        points: (N, K, 2) float32 x, y in cells, contiguous.
        samples: (N or more, K, C), contiguous; the first N are written.
    """
    height, width, channels = cells.shape
    match_torch_threads()
    _sample(
        _array(cells).reshape(-1, channels), height, width,
        _array(points).reshape(-1, 2), _array(samples).reshape(-1, channels),
    )  # fmt: skip


def sample_backward(
    cells: Tensor, points: Tensor, by_samples: Tensor, by_cells: Tensor, by_points: Tensor
) -> None:
    """Add the gradients of cells and write those of points; the CPU's cores share the groups.

    Args:
        cells: (G, H, W, C) float32, contiguous, like all arguments.
        points: (G, N, K, 2) x, y in cells.
        by_samples: (G, N, K, C), gradients of the samples.
        by_cells: (G, H, W, C).
        by_points: (G, N, K, 2).
    """
    groups, height, width, channels = cells.shape
    match_torch_threads()
    _sample_backward(
        _array(cells).reshape(groups, -1, channels), height, width,
        _array(points).reshape(groups, -1, 2), _array(by_samples).reshape(groups, -1, channels),
        _array(by_cells).reshape(groups, -1, channels), _array(by_points).reshape(groups, -1, 2),
    )  # fmt: skip


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().numpy()
    return array


@numba.njit(cache=True, parallel=True, fastmath=_FAST, error_model="numpy")
def _sample(cells, height, width, points, samples):  # type: ignore[no-untyped-def]
    """Write a sample (C,) of the cells (H W, C) for each point (S, 2)."""
    channels = np.uint64(cells.shape[1])
    for chunk in numba.prange((len(points) + _CHUNK - 1) // _CHUNK):
        first = chunk * _CHUNK
        count = min(_CHUNK, len(points) - first)
        corners = np.empty((4, _CHUNK), np.int32)
        shares = np.empty((4, _CHUNK), np.float32)
        _prepare(points, first, count, height, width, corners, shares)
        for p in range(count):
            # Unsigned, since numba lets a negative index count from the end.
            one, two = np.uint64(corners[0, p]), np.uint64(corners[1, p])
            three, four = np.uint64(corners[2, p]), np.uint64(corners[3, p])
            row = np.uint64(first + p)
            # Read before the loop: the compiler cannot know that samples are not among them.
            own = shares[0, p], shares[1, p], shares[2, p], shares[3, p]
            for c in range(channels):
                samples[row, c] = (
                    own[0] * cells[one, c] + own[1] * cells[two, c]
                    + own[2] * cells[three, c] + own[3] * cells[four, c]
                )  # fmt: skip


# Without branches, so that eight points are prepared at a time; a slice of the points would prevent
# it, too.
@numba.njit(inline="always", fastmath=_FAST, error_model="numpy")
def _prepare(  # type: ignore[no-untyped-def]
    points, first, count, height, width, corners, shares
):
    """Write the four cells around each point, from north-west to south-east, and their shares.

    A neighbour beyond the border is another cell with a share of 0.
    """
    last_x, last_y = np.float32(width - 1), np.float32(height - 1)
    row = np.int32(width)
    for p in range(count):
        x, y = points[first + p, 0], points[first + p, 1]
        west, north = np.floor(x), np.floor(y)
        along, down = x - west, y - north
        # Clamped by comparisons that end at a cell also if x or y is not a number.
        left = west if west > _ZERO else _ZERO
        left = left if left < last_x else last_x
        right = west + _ONE if west > -_ONE else _ZERO
        right = right if right < last_x else last_x
        top = north if north > _ZERO else _ZERO
        top = top if top < last_y else last_y
        bottom = north + _ONE if north > -_ONE else _ZERO
        bottom = bottom if bottom < last_y else last_y
        # NaN makes these comparisons false, so that its shares become NaN, too.
        west_share = _ZERO if (west < _ZERO) | (west > last_x) else _ONE - along
        east_share = _ZERO if (west < -_ONE) | (west >= last_x) else along
        north_share = _ZERO if (north < _ZERO) | (north > last_y) else _ONE - down
        south_share = _ZERO if (north < -_ONE) | (north >= last_y) else down
        upper, lower = np.int32(np.int32(top) * row), np.int32(np.int32(bottom) * row)
        corners[0, p], corners[1, p] = upper + np.int32(left), upper + np.int32(right)
        corners[2, p], corners[3, p] = lower + np.int32(left), lower + np.int32(right)
        shares[0, p], shares[1, p] = north_share * west_share, north_share * east_share
        shares[2, p], shares[3, p] = south_share * west_share, south_share * east_share


@numba.njit(cache=True, parallel=True, fastmath=_FAST, error_model="numpy")
def _sample_backward(  # type: ignore[no-untyped-def]
    cells, height, width, points, by_samples, by_cells, by_points
):
    """Add to the gradients of cells (G, H W, C), and write those of points (G, S, 2)."""
    channels = np.uint64(cells.shape[2])
    for g in numba.prange(len(cells)):
        corners = np.empty((4, _CHUNK), np.int32)
        shares = np.empty((4, _CHUNK), np.float32)
        for first in range(0, points.shape[1], _CHUNK):
            count = min(_CHUNK, points.shape[1] - first)
            _prepare(points[g], first, count, height, width, corners, shares)
            for p in range(count):
                one, two = np.uint64(corners[0, p]), np.uint64(corners[1, p])
                three, four = np.uint64(corners[2, p]), np.uint64(corners[3, p])
                row = np.uint64(first + p)
                own = shares[0, p], shares[1, p], shares[2, p], shares[3, p]
                # Products of the samples' gradients with the four cells.
                north_west = north_east = south_west = south_east = _ZERO
                for c in range(channels):
                    by_sample = by_samples[g, row, c]
                    north_west += by_sample * cells[g, one, c]
                    north_east += by_sample * cells[g, two, c]
                    south_west += by_sample * cells[g, three, c]
                    south_east += by_sample * cells[g, four, c]
                # One cell after the other, since two of them may be the same one.
                for c in range(channels):
                    by_cells[g, one, c] += own[0] * by_samples[g, row, c]
                for c in range(channels):
                    by_cells[g, two, c] += own[1] * by_samples[g, row, c]
                for c in range(channels):
                    by_cells[g, three, c] += own[2] * by_samples[g, row, c]
                for c in range(channels):
                    by_cells[g, four, c] += own[3] * by_samples[g, row, c]
                x, y = points[g, row, 0], points[g, row, 1]
                west, north = np.floor(x), np.floor(y)
                along, down = x - west, y - north
                last_x, last_y = np.float32(width - 1), np.float32(height - 1)
                # Cells beyond the border count as zero.
                if not (west >= _ZERO and west <= last_x):
                    north_west = south_west = _ZERO
                if not (west >= -_ONE and west < last_x):
                    north_east = south_east = _ZERO
                if not (north >= _ZERO and north <= last_y):
                    north_west = north_east = _ZERO
                if not (north >= -_ONE and north < last_y):
                    south_west = south_east = _ZERO
                upper, lower = north_east - north_west, south_east - south_west
                by_points[g, row, 0] = (_ONE - down) * upper + down * lower
                left, right = south_west - north_west, south_east - north_east
                by_points[g, row, 1] = (_ONE - along) * left + along * right
