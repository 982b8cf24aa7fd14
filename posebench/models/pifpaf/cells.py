"""The cells of composite fields, and the accumulated confidence map of each keypoint.

PifPaf accumulates confidence in a map at the input's resolution, which decoding reads at few pixels
only. The map is therefore not filled: its value is computed at each pixel that is read, from bumps
sorted by column.

Shapes: K maps of keypoints or limbs, V values per cell, N cells. Coordinates and scales are in
pixels unless stated to be in cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEAST_CONFIDENCE = 0.3  # of the keypoint cells in the accumulated map, and of limb cells
NEIGHBOURS = 16  # cells that encode one keypoint
FARTHEST = 1e5  # larger values are treated as invalid; they could also overflow integers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """The cells of K maps whose confidence reaches a threshold, map by map."""

    maps: NDArray[np.int64]  # (N,)
    values: Floats  # (N, V) confidence; x, y, ... in pixels


@dataclass(frozen=True)
class Planes:
    """The fields of one image at one or several scales, with the cells of all scales joined."""

    fields: NDArray[Any]  # (K, V, N) logit; x and y offset, once or twice, and scales, in cells
    positions: Floats  # (3, N) x, y of each cell in the first scale's pixels; its pixels per cell

    @classmethod
    def of(cls, views: Sequence[tuple[Tensor, Floats]], stride: int) -> Planes:
        """Return the joined cells of all views of an image.

        Args:
            views: fields (K, V, H, W), and the affine map (2, 3), without rotation, from the view's
                pixels to those of the first view.
            stride: pixels per cell.
        """
        fields, positions = [], []
        for view, to_first in views:
            values = view if view.dtype in (torch.float32, torch.float64) else view.float()
            fields.append(values.cpu().flatten(2).numpy())
            scale = stride * to_first[0, 0]
            y, x = np.indices(view.shape[-2:]).reshape(2, -1)
            (dx, dy), pixels = to_first[:, 2], np.full(len(x), scale)
            positions.append(np.stack([x * scale + dx, y * scale + dy, pixels]))
        # Most images have one view, which is not copied.
        joined = fields[0] if len(fields) == 1 else np.concatenate(fields, 2)
        return cls(np.ascontiguousarray(joined), np.concatenate(positions, 1))

    def cells(self, least: float) -> Cells:
        """Return the cells whose confidence is at least `least`."""
        return Cells(*_collect(self.fields, self.positions, _logit(least)))


def _logit(confidence: float) -> float:
    return math.log(confidence / (1 - confidence))


@numba.njit(cache=True)
def read_cell(row, fields, positions, k, n):  # type: ignore[no-untyped-def]
    """Write confidence, coordinates and scales of cell n of map k to `row`; return if all valid."""
    count = fields.shape[1]
    ends = (count - 1) // 3
    x, y, scale = positions[0, n], positions[1, n], positions[2, n]
    row[0] = 1.0 / (1.0 + math.exp(-fields[k, 0, n]))
    for end in range(ends):
        row[1 + 2 * end] = fields[k, 1 + 2 * end, n] * scale + x
        row[2 + 2 * end] = fields[k, 2 + 2 * end, n] * scale + y
    for index in range(1 + 2 * ends, count):
        row[index] = fields[k, index, n] * scale
    valid = True
    for index in range(count):
        # The comparison is also False for NaN.
        valid = valid and abs(row[index]) < FARTHEST
    return valid


@numba.njit(cache=True)
def _collect(fields, positions, least):  # type: ignore[no-untyped-def]
    map_count, numbers, cells = fields.shape
    count = 0
    for k in range(map_count):
        for n in range(cells):
            count += fields[k, 0, n] >= least
    maps, values = np.empty(count, np.int64), np.empty((count, numbers))
    count = 0
    for k in range(map_count):
        for n in range(cells):
            if fields[k, 0, n] >= least and read_cell(values[count], fields, positions, k, n):
                maps[count] = k
                count += 1
    return maps[:count].copy(), values[:count].copy()


# ------------------------------------------------------------------------------- accumulated map


@dataclass(frozen=True)
class AccumulatedMap:
    """K maps, each the sum of bumps at the positions to which the keypoint's cells point."""

    bumps: Floats  # (N, 4) x, y, sigma, height, sorted by map and column
    begin: NDArray[np.int64]  # (K * columns + 1,) index of the first bump of each column
    widest: Floats  # (K,) the largest sigma of each map
    size: tuple[int, int]  # height and width
    stride: int

    @classmethod
    def of(
        cls, cells: Cells, keypoints: int, size: tuple[int, int], stride: int, views: int = 1
    ) -> AccumulatedMap:
        """Return the maps (K, height, width) of a size in pixels, averaged over views."""
        strong = cells.values[:, 0] >= LEAST_CONFIDENCE
        confidence, x, y, scale = cells.values[strong].T
        maps = cells.maps[strong]
        sigma = np.maximum(1.0, 0.5 * scale)
        values = np.stack([x, y, sigma, confidence / (NEIGHBOURS * views)], 1)
        bumps, begin = by_column(values, maps, x, keypoints, columns_of(size, stride), stride)
        widest = np.zeros(keypoints)
        np.maximum.at(widest, maps, sigma)
        return cls(bumps, begin, widest, size, stride)

    @property
    def columns(self) -> int:
        return columns_of(self.size, self.stride)

    def at(self, maps: NDArray[np.int64], x: Floats, y: Floats) -> Floats:
        """Return the values (N,) of maps (N,) at the pixels nearest to x, y; -1 outside."""
        heights: Floats = _heights(maps, x, y, *self.content)
        return heights

    @property
    def content(self) -> tuple[Floats, NDArray[np.int64], Floats, int, int, int]:
        """The arguments that describe the maps to compiled functions."""
        return self.bumps, self.begin, self.widest, *self.size, self.stride


def columns_of(size: tuple[int, int], stride: int) -> int:
    return (size[1] - 1) // stride + 1


@numba.njit(cache=True)
def by_column(values, maps, x, count, columns, stride):  # type: ignore[no-untyped-def]
    """Return the rows sorted by map and column of x, and each column's first (count * columns + 1).

    Rows outside the image belong to the outermost columns.
    """
    begin = np.zeros(count * columns + 1, np.int64)
    bucket = np.empty(len(maps), np.int64)
    for n in range(len(maps)):
        bucket[n] = maps[n] * columns + column_of(x[n], columns, stride)
        begin[bucket[n] + 1] += 1
    for n in range(count * columns):
        begin[n + 1] += begin[n]
    following = begin.copy()
    ordered = np.empty_like(values)
    for n in range(len(maps)):
        ordered[following[bucket[n]]] = values[n]
        following[bucket[n]] += 1
    return ordered, begin


@numba.njit(cache=True)
def column_of(x, columns, stride):  # type: ignore[no-untyped-def]
    return min(max(math.floor(x / stride), 0), columns - 1)


@numba.njit(cache=True)
def _heights(maps, x, y, bumps, begin, widest, height, width, stride):  # type: ignore[no-untyped-def]
    heights = np.empty(len(maps))
    for n in range(len(maps)):
        heights[n] = height_at(maps[n], x[n], y[n], bumps, begin, widest, height, width, stride)
    return heights


@numba.njit(cache=True)
def height_at(k, x, y, bumps, begin, widest, height, width, stride):  # type: ignore[no-untyped-def]
    px, py = math.floor(x + 0.5), math.floor(y + 0.5)
    if px < 0 or py < 0 or px >= width or py >= height:
        return -1.0
    columns = (len(begin) - 1) // len(widest)
    reach = widest[k] + 1.0
    first = begin[k * columns + column_of(px - reach, columns, stride)]
    last = begin[k * columns + column_of(px + reach, columns, stride) + 1]
    total = 0.0
    for i in range(first, last):
        bx, by, sigma = bumps[i, 0], bumps[i, 1], bumps[i, 2]
        # A bump's box is rounded to whole pixels, as published.
        if px < int(bx - sigma) or px >= int(bx + sigma + 1):
            continue
        if py < int(by - sigma) or py >= int(by + sigma + 1):
            continue
        dx, dy = (px - bx) ** 2, (py - by) ** 2
        if dx + dy > sigma * sigma:
            continue
        if dx < 0.25 and dy < 0.25:
            total += bumps[i, 3]
            continue
        # (1 + z / 8)^8 in place of exp(z), as published.
        part = 1.0 - 0.5 * (dx + dy) / (sigma * sigma) / 8.0
        part *= part
        part *= part
        total += bumps[i, 3] * part * part
    return min(total, 1.0)
