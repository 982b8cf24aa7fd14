"""What composite fields tell, cell by cell, and how surely a keypoint lies somewhere.

PifPaf accumulates keypoints in a map at the input's resolution. It is looked at in few places, so
here the map's value is found where it is asked for, and what it is made of lies sorted by column
for that.

Shapes: K maps of keypoints or limbs, V values per cell, N cells. Coordinates and scales are in
pixels unless they are said to be in cells.
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

LEAST_CONFIDENCE = 0.3  # of a cell that counts in the accumulated map, and of a limb's
NEIGHBOURS = 16  # cells that tell of one keypoint
FARTHEST = 1e5  # a field that points farther is broken; also keeps numbers within integers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """The cells of K maps whose confidence is high enough, map by map."""

    maps: NDArray[np.int64]  # (N,)
    values: Floats  # (N, V) confidence; x, y, ... in pixels


@dataclass(frozen=True)
class Planes:
    """The fields of one image at one or several scales, cell beside cell."""

    fields: NDArray[Any]  # (K, V, N) logit; x and y offset, once or twice, and scales, in cells
    places: Floats  # (3, N) x and y of each cell in the first scale's pixels; pixels per cell

    @classmethod
    def of(cls, looks: Sequence[tuple[Tensor, Floats]], stride: int) -> Planes:
        """Join the looks at an image.

        Args:
            looks: fields (K, V, H, W), and the affine (2, 3), which does not turn, from their
                pixels to those of the first look.
            stride: pixels per cell.
        """
        fields, places = [], []
        for look, to_first in looks:
            numbers = look if look.dtype in (torch.float32, torch.float64) else look.float()
            fields.append(numbers.cpu().flatten(2).numpy())
            scale = stride * to_first[0, 0]
            y, x = np.indices(look.shape[-2:]).reshape(2, -1)
            (dx, dy), pixels = to_first[:, 2], np.full(len(x), scale)
            places.append(np.stack([x * scale + dx, y * scale + dy, pixels]))
        # Most images are looked at once, and then nothing is copied.
        joined = fields[0] if len(fields) == 1 else np.concatenate(fields, 2)
        return cls(np.ascontiguousarray(joined), np.concatenate(places, 1))

    def cells(self, least: float) -> Cells:
        """Return the cells of at least this confidence."""
        return Cells(*_collect(self.fields, self.places, _logit(least)))


def _logit(confidence: float) -> float:
    return math.log(confidence / (1 - confidence))


@numba.njit(cache=True)
def read_cell(row, fields, places, k, n):  # type: ignore[no-untyped-def]
    """Write the confidence, coordinates and scales of cell n of map k; return if they are sound."""
    numbers = fields.shape[1]
    ends = (numbers - 1) // 3
    x, y, scale = places[0, n], places[1, n], places[2, n]
    row[0] = 1.0 / (1.0 + math.exp(-fields[k, 0, n]))
    for end in range(ends):
        row[1 + 2 * end] = fields[k, 1 + 2 * end, n] * scale + x
        row[2 + 2 * end] = fields[k, 2 + 2 * end, n] * scale + y
    for place in range(1 + 2 * ends, numbers):
        row[place] = fields[k, place, n] * scale
    sound = True
    for place in range(numbers):
        # False also where a value is not finite.
        sound = sound and abs(row[place]) < FARTHEST
    return sound


@numba.njit(cache=True)
def _collect(fields, places, least):  # type: ignore[no-untyped-def]
    count, numbers, cells = fields.shape
    found = 0
    for k in range(count):
        for n in range(cells):
            found += fields[k, 0, n] >= least
    maps, values = np.empty(found, np.int64), np.empty((found, numbers))
    found = 0
    for k in range(count):
        for n in range(cells):
            if fields[k, 0, n] >= least and read_cell(values[found], fields, places, k, n):
                maps[found] = k
                found += 1
    return maps[:found].copy(), values[:found].copy()


# ------------------------------------------------------------------------------- accumulated map


@dataclass(frozen=True)
class AccumulatedMap:
    """K maps, each the sum of the bumps that a keypoint's cells make where they point to."""

    bumps: Floats  # (N, 4) x, y, sigma, height, by map and column
    begin: NDArray[np.int64]  # (K * columns + 1,) where each column begins among them
    widest: Floats  # (K,) sigma
    size: tuple[int, int]  # height and width
    stride: int

    @classmethod
    def of(
        cls, found: Cells, keypoints: int, size: tuple[int, int], stride: int, looks: int = 1
    ) -> AccumulatedMap:
        strong = found.values[:, 0] >= LEAST_CONFIDENCE
        confidence, x, y, scale = found.values[strong].T
        maps = found.maps[strong]
        sigma = np.maximum(1.0, 0.5 * scale)
        values = np.stack([x, y, sigma, confidence / (NEIGHBOURS * looks)], 1)
        bumps, begin = by_column(values, maps, x, keypoints, columns_of(size, stride), stride)
        widest = np.zeros(keypoints)
        np.maximum.at(widest, maps, sigma)
        return cls(bumps, begin, widest, size, stride)

    @property
    def columns(self) -> int:
        return columns_of(self.size, self.stride)

    def at(self, maps: NDArray[np.int64], x: Floats, y: Floats) -> Floats:
        """Return the values (N,) of maps (N,) at the pixels nearest to x, y; -1 outside."""
        found: Floats = _heights(maps, x, y, *self.content)
        return found

    @property
    def content(self) -> tuple[Floats, NDArray[np.int64], Floats, int, int, int]:
        """What compiled loops are handed."""
        return self.bumps, self.begin, self.widest, *self.size, self.stride


def columns_of(size: tuple[int, int], stride: int) -> int:
    return (size[1] - 1) // stride + 1


@numba.njit(cache=True)
def by_column(values, maps, x, count, columns, stride):  # type: ignore[no-untyped-def]
    """Return the rows sorted by map and column of x, and where each begins (count * columns + 1).

    What lies beside the image is in the outermost columns.
    """
    begin = np.zeros(count * columns + 1, np.int64)
    place = np.empty(len(maps), np.int64)
    for n in range(len(maps)):
        place[n] = maps[n] * columns + column_of(x[n], columns, stride)
        begin[place[n] + 1] += 1
    for n in range(count * columns):
        begin[n + 1] += begin[n]
    following = begin.copy()
    ordered = np.empty_like(values)
    for n in range(len(maps)):
        ordered[following[place[n]]] = values[n]
        following[place[n]] += 1
    return ordered, begin


@numba.njit(cache=True)
def column_of(x, columns, stride):  # type: ignore[no-untyped-def]
    return min(max(math.floor(x / stride), 0), columns - 1)


@numba.njit(cache=True)
def _heights(maps, x, y, bumps, begin, widest, height, width, stride):  # type: ignore[no-untyped-def]
    found = np.empty(len(maps))
    for n in range(len(maps)):
        found[n] = height_at(maps[n], x[n], y[n], bumps, begin, widest, height, width, stride)
    return found


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
        # A bump's box is cut to whole pixels, as published.
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
