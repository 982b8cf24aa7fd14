"""Affine maps between an image and a network input.

A map is a (2, 3) float64 array that takes image pixels (x, y) to network-input pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posebench.structures import DetrResize, FixedResize, Resize, Resizing, Rounding

Affine = NDArray[np.float64]


def square_affine(
    center: tuple[float, float], side: float, rotation_deg: float, size: int
) -> Affine:
    """Return the map of a rotated square of image pixels onto a `size` x `size` network input.

    Args:
        center: x, y of the square.
        side: of the square, in image pixels.
        rotation_deg: positive turns the image anticlockwise on the screen, where y points down.
        size: of the input, in pixels.

    Source: HigherHRNet's and CID's training warp.
    """
    scale = size / side
    cos, sin = (
        scale * math.cos(math.radians(rotation_deg)),
        scale * math.sin(math.radians(rotation_deg)),
    )
    return _around(np.array([[cos, sin], [-sin, cos]]), center, (size / 2, size / 2))


def resize_affine(
    image_size: tuple[int, int], resize: Resize, *, scale: float = 1.0, smallest: float = 1.0
) -> tuple[Affine, tuple[int, int]]:
    """Return the test-time map of an image of (width, height), and the network input's size.

    The short side becomes `short_side`, rounded up to a multiple; the long side is scaled by the
    same factor and rounded up to a multiple, so that it gets a border. The authors' code first
    drops the long side's fraction, and MMPose does not: the long side of an image of 333 x 500 at
    512 is 768.8, which becomes 768 or 832. DEKR's authors round the size at scale 1, from which all
    others follow; the other code bases round the size at the smallest scale.

    Args:
        scale: of the image, relative to `resize`.
        smallest: the smallest of the test's scales; the sizes at the others are multiples of its.
    """
    if resize.rounding == "dekr":
        smallest = 1.0
    width, height = image_size
    short, long = min(width, height), max(width, height)
    base_short = _round_up(int(resize.short_side * smallest), resize.multiple)
    if resize.rounding in ("authors", "dekr"):
        base_long = _round_up(int(base_short * long / short), resize.multiple)
    else:
        base_long = -(-base_short * long // (short * resize.multiple)) * resize.multiple
    new_short, new_long = (int(side * scale / smallest) for side in (base_short, base_long))
    size = (new_long, new_short) if width >= height else (new_short, new_long)
    center = (_middle(width, resize.rounding), _middle(height, resize.rounding))
    enlarge = np.eye(2) * (new_short / short)
    return _around(enlarge, center, (size[0] / 2, size[1] / 2)), size


def _middle(side: int, rounding: Rounding) -> float:
    """Return the middle of a side in pixels.

    The authors' code and MMPose 0.x round it to whole pixels, which shifts odd sizes by half a
    pixel; they differ in where they round halves.
    """
    if rounding == "mmpose1":
        return side / 2
    return round(side / 2) if rounding == "mmpose0" else math.floor(side / 2 + 0.5)


def detr_size(
    image_size: tuple[int, int], short_side: int, long_side: int | None
) -> tuple[int, int]:
    """Return the (width, height) to which DETR resizes an image of (width, height).

    Where the long side's bound decides, the short side is rounded half to even; the long side is
    then computed from it and truncated, so it may exceed its bound by a pixel.

    Args:
        image_size: width, height.
        short_side: wanted, if the long side stays within its bound.
        long_side: bound of the long side; None: there is none.
    """
    width, height = image_size
    short, long = min(width, height), max(width, height)
    if long_side is not None and long / short * short_side > long_side:
        short_side = round(long_side * short / long)
    short_side = max(short_side, 1)
    longer = int(short_side * long / short)
    return (short_side, longer) if width < height else (longer, short_side)


def fit_size(image_size: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """Return the largest (width, height) within both bounds of the sides, rounded to nearest."""
    width, height = image_size
    ratio = min(long_side / max(width, height), short_side / min(width, height))
    return max(int(width * ratio + 0.5), 1), max(int(height * ratio + 0.5), 1)


def contained_size(image_size: tuple[int, int], bounds: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (width, height) of an image's shape within bounds (width, height)."""
    ratio = min(bound / side for bound, side in zip(bounds, image_size, strict=True))
    width, height = (max(round(side * ratio), 1) for side in image_size)
    return width, height


def stretch_affine(image_size: tuple[int, int], size: tuple[int, int]) -> Affine:
    """Return the map that stretches an image of (width, height) to another (width, height)."""
    return np.column_stack([np.diag(np.array(size) / image_size), np.zeros(2)])


def network_map(
    image_size: tuple[int, int], resize: Resizing, scale: float, smallest: float
) -> tuple[Affine, tuple[int, int]]:
    """Return the test-time map of an image of (width, height) and its size before padding.

    Args:
        scale: of the image, relative to `resize`.
        smallest: the smallest of the test's scales, which `Resize` needs (see `resize_affine`).
    """
    if isinstance(resize, Resize):
        return resize_affine(image_size, resize, scale=scale, smallest=smallest)
    if isinstance(resize, FixedResize):
        size = contained_size(image_size, resize.bounds)
        return stretch_affine(image_size, size), size
    sides = round(resize.short_side * scale), round(resize.long_side * scale)
    size = (detr_size if isinstance(resize, DetrResize) else fit_size)(image_size, *sides)
    return stretch_affine(image_size, size), size


def mirror_affine(width: int) -> Affine:
    """Return the map that mirrors network-input pixels left to right."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])


def compose(outer: Affine, inner: Affine) -> Affine:
    """Return the map that applies `inner` first, then `outer`."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def invert(matrix: Affine) -> Affine:
    """Return the inverse map."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def apply(points: Tensor, matrix: Tensor) -> Tensor:
    """Return points (..., 2) mapped by a matrix (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _around(
    linear: NDArray[np.float64], source: tuple[float, float], target: tuple[float, float]
) -> Affine:
    """Return the map with this linear part that takes the point `source` to `target`."""
    return np.column_stack([linear, np.array(target) - linear @ np.array(source)])


def _round_up(value: int, multiple: int) -> int:
    return (value + multiple - 1) // multiple * multiple
