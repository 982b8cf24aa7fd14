"""The compiled loop of `layers.deformable_conv`.

Imported when it first runs, since importing numba takes long.
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
