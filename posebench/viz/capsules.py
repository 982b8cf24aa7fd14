"""Capsules, the shapes of which limbs, discs and labels are made, and how they are painted.

They are painted from the exact distance of each pixel, so that edges are smooth and widths need not
be whole numbers; OpenCV's lines are whole pixels wide.

Shapes: C capsules, H x W pixels. A coordinate is an index: (3, 5) is the centre of the pixel in
column 3 and row 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from posebench.viz.colours import RGB, Colour

Floats: TypeAlias = NDArray[np.float64]
# (C, 12), in the order in which they are painted: start x, y; end x, y; radius, growth, hole, dash,
# opacity; red, green, blue. A hole or a dash of 0 is none.
Strokes: TypeAlias = Floats

# The compiled loop takes half a second to load. In that time NumPy paints a picture of many people
# or dozens of one person, so NumPy paints until this many pixels are done: those of the shapes, and
# some for each shape that stand for the time its calls take.
_LOADING = 8_000_000
_PER_SHAPE = 3_000


@dataclass(frozen=True)
class Capsules:
    """The pixels within `radius` of lines from start to end; also a single one, without the C.

    A capsule is a limb, with equal ends a disc, and the background of a label.
    """

    start: Floats  # (C, 2) x, y
    end: Floats  # (C, 2)
    radius: Floats | float  # (C,)
    opacity: Floats | float = 1.0  # (C,)
    dash: Floats | float = 0.0  # (C,) pixels from one dash to the next; 0: solid
    hole: Floats | float = 0.0  # (C,) radius around the line that is left free, pixels; 0: none

    def strokes(
        self, colours: Floats | Colour, strength: float = 1.0, grown: Floats | float = 0.0
    ) -> Strokes:
        """Return what `paint` takes.

        Args:
            colours: (C, 3) RGB, or one for all.
            strength: multiplies the opacity.
            grown: pixels by which the shapes are larger on every side.
        """
        rows = np.empty((np.atleast_2d(self.start).shape[0], 12))
        rows[:, 0:2], rows[:, 2:4] = self.start, self.end
        rows[:, 4], rows[:, 5], rows[:, 6] = self.radius, grown, self.hole
        rows[:, 7], rows[:, 8] = self.dash, np.multiply(self.opacity, strength)
        rows[:, 9:12] = colours
        return rows


def paint(image: RGB, strokes: Strokes) -> None:
    """Blend shapes into an image in place, one after the other.

    Args:
        image: (H, W, 3) uint8 RGB.
        strokes: those of `Capsules`, or several of them in one array.
    """
    length = np.hypot(*(strokes[:, 2:4] - strokes[:, 0:2]).T)
    width = 2 * (strokes[:, 4] + strokes[:, 5])
    strokes = strokes[np.isfinite(length)]  # which overflows from 1e308 on
    area = float((width * (length + width)).sum())
    if _painted.compiling_pays(area + _PER_SHAPE * len(strokes)):
        _compiled()(image, strokes)
        return
    for stroke in strokes:
        _paint_rows(image, stroke)


class _Painted:
    """How much this process has painted."""

    def __init__(self) -> None:
        self._pixels = 0.0

    def compiling_pays(self, pixels: float) -> bool:
        """Return whether NumPy took longer for these pixels and all earlier than loading takes."""
        self._pixels += pixels
        return self._pixels > _LOADING


_painted = _Painted()

# --------------------------------------------------------------------------- which pixels, how much
# These functions take numbers, or arrays that broadcast: the compiled loop calls them too.


class _Shape(NamedTuple):
    """A stroke with names, and the direction of its line."""

    x: float  # of the start
    y: float
    end_y: float
    along_x: float  # unit vector to the end
    along_y: float
    length: float
    radius: float
    hole: float
    dash: float
    half_dash: float
    opacity: float


def _shape(stroke: Any) -> _Shape:
    dx, dy = stroke[2] - stroke[0], stroke[3] - stroke[1]
    length = max(math.hypot(dx, dy), 1e-9)
    grown, hole, dash = stroke[5], stroke[6], stroke[7]
    return _Shape(
        stroke[0], stroke[1], stroke[3], dx / length, dy / length, length,
        stroke[4] + grown, hole - grown if hole > 0 else -math.inf, dash, 0.3 * dash + grown,
        stroke[8],
    )  # fmt: skip


def _opacity(shape: _Shape, x: Any, y: Any) -> Any:
    """Return the opacity of a shape at pixels."""
    dx, dy = x - shape.x, y - shape.y
    along = _clipped(dx * shape.along_x + dy * shape.along_y, 0.0, shape.length)
    across_x, across_y = dx - along * shape.along_x, dy - along * shape.along_y
    distance = np.sqrt(across_x * across_x + across_y * across_y)
    inside = _share(shape.radius - distance) * _share(distance - shape.hole)
    if shape.dash > 0:
        place = along / shape.dash
        from_middle = np.abs(place - np.floor(place) - 0.5) * shape.dash
        inside = inside * _share(shape.half_dash - from_middle)
    return shape.opacity * inside


def _share(depth: Any) -> Any:
    """Return the share of a pixel within an edge that its centre is `depth` pixels within."""
    return _clipped(depth + 0.5, 0.0, 1.0)


def _span(shape: _Shape, radius: float, y: Any) -> tuple[Any, Any]:
    """Return the least and the greatest x in a row within `radius` of the line.

    Such a point is on the circle around one of the line's points: where the circle's radius is
    across the line, or else around an end.
    """
    from_start = y - shape.y
    rise = shape.along_y if abs(shape.along_y) > 1e-30 else 1e-30
    shift = math.copysign(radius * shape.along_x, rise * shape.along_x)
    first = _clipped((from_start - shift) / rise, 0.0, shape.length)
    last = _clipped((from_start + shift) / rise, 0.0, shape.length)
    below_first, below_last = from_start - first * shape.along_y, from_start - last * shape.along_y
    reach_first = np.sqrt(np.maximum(radius * radius - below_first * below_first, 0.0))
    reach_last = np.sqrt(np.maximum(radius * radius - below_last * below_last, 0.0))
    return (
        shape.x + first * shape.along_x - reach_first,
        shape.x + last * shape.along_x + reach_last,
    )


def _rows(shape: _Shape, radius: float) -> tuple[float, float]:
    """Return the least and the greatest y within `radius` of the line."""
    return min(shape.y, shape.end_y) - radius, max(shape.y, shape.end_y) + radius


def _clipped(value: Any, least: float, most: float) -> Any:
    return np.minimum(np.maximum(value, least), most)


def _whole(first: float, last: float, size: int) -> tuple[int, int]:
    """Return the least whole number from first to last, and the one past the greatest.

    Those below 0, and from size on, are left out.
    """
    return math.ceil(_clipped(first, 0, size)), math.floor(_clipped(last, -1, size - 1)) + 1


# ----------------------------------------------------------------------------------------- painting


def _paint_rows(image: RGB, stroke: Floats) -> None:
    """Paint a stroke with NumPy, all rows together."""
    shape = _shape(stroke.tolist())
    height, width = image.shape[:2]
    rows = np.arange(*_whole(*_rows(shape, shape.radius + 0.5), height))
    left, right = _span(shape, shape.radius + 0.5, rows)
    left = np.ceil(np.clip(left, 0, width)).astype(int)
    counts = np.maximum(np.floor(np.clip(right, -1, width - 1)).astype(int) + 1 - left, 0)
    y = np.repeat(rows, counts)
    x = np.arange(len(y)) + np.repeat(left - np.cumsum(counts) + counts, counts)
    image[y, x] = mixed(image[y, x], _opacity(shape, x, y), stroke[9:])


def mixed(pixels: RGB, opacity: Floats, colour: Floats | Colour) -> RGB:
    """Return (..., 3) pixels mixed with a colour by their (...) opacity in [0, 1]."""
    blend = pixels + opacity[..., None] * (np.asarray(colour, np.float64) - pixels)
    return np.rint(blend).astype(np.uint8)


def _paint_pixels(image: RGB, strokes: Strokes) -> None:
    """Paint strokes row by row, to be compiled."""
    height, width, _ = image.shape
    opacities = np.empty(width)  # of a row's pixels
    for s in range(len(strokes)):
        shape = _shape(strokes[s])
        red, green, blue = strokes[s, 9], strokes[s, 10], strokes[s, 11]
        outer = shape.radius + 0.5
        # Pixels within are covered whole: no need to compute their share.
        inner = outer - 1.000001 if shape.dash == 0 and shape.hole < 0 else -1.0
        low, high = _rows(shape, outer)
        solid_low, solid_high = _rows(shape, inner)
        for y in range(*_whole(low, high, height)):
            left, right = _whole(*_span(shape, outer, y), width)
            solid_left, solid_right = right, right
            if inner > 0 and solid_low <= y <= solid_high:
                solid_left, last = _whole(*_span(shape, inner, y), width)
                solid_right = max(solid_left, last)
            for x in range(left, solid_left):
                opacities[x] = _opacity(shape, x, y)
            opacities[solid_left:solid_right] = shape.opacity
            for x in range(solid_right, right):
                opacities[x] = _opacity(shape, x, y)
            for x in range(left, right):
                pixel, opacity = image[y, x], opacities[x]
                pixel[0] = np.uint8(np.rint(pixel[0] + opacity * (red - pixel[0])))
                pixel[1] = np.uint8(np.rint(pixel[1] + opacity * (green - pixel[1])))
                pixel[2] = np.uint8(np.rint(pixel[2] + opacity * (blue - pixel[2])))


@cache
def _compiled() -> Any:
    """Return `_paint_pixels`, compiled by numba and kept on disk."""
    import numba
    from numba.extending import register_jitable

    for function in (_shape, _opacity, _share, _span, _rows, _whole, _clipped):
        register_jitable(function)
    # With its types, so that parts of a page, which have gaps between rows, take the same code.
    types = "void(u1[:,:,:], f8[:,::1])"
    return numba.njit(types, cache=True, nogil=True, error_model="numpy")(_paint_pixels)
