"""Affine maps between an image and a network input.

A map is a (2, 3) float64 array that takes image pixels (x, y) to network-input pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posebench.structures import Resize

Affine = NDArray[np.float64]


def square_affine(
    center: tuple[float, float], side: float, rotation_deg: float, size: int
) -> Affine:
    """Map the square of `side` image pixels around `center`, turned, onto a `size` x `size` input.

    Source: HigherHRNet's and CID's training warp; a positive angle turns the picture
    anticlockwise on the screen (y points down).
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
    """Return the test-time map of an image of (width, height) and the network size it leads to.

    The short side becomes `short_side`, rounded up to a multiple; the long side is scaled by the
    same factor, loses its fraction and is rounded up, so the map leaves a border on it.

    Args:
        scale: by which the image is shown larger or smaller.
        smallest: of several scales, from whose size the others follow, so that all are alike.
    """
    width, height = image_size
    short, long = min(width, height), max(width, height)
    base_short = _round_up(int(resize.short_side * smallest), resize.multiple)
    base_long = _round_up(int(base_short * long / short), resize.multiple)
    new_short, new_long = (int(side * scale / smallest) for side in (base_short, base_long))
    size = (new_long, new_short) if width >= height else (new_short, new_long)
    # The published code rounds the centre to whole pixels, which shifts odd sizes by half a pixel.
    center = (math.floor(width / 2 + 0.5), math.floor(height / 2 + 0.5))
    enlarge = np.eye(2) * (new_short / short)
    return _around(enlarge, center, (size[0] / 2, size[1] / 2)), size


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
    """Map (..., 2) points by a (2, 3) matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _around(
    linear: NDArray[np.float64], source: tuple[float, float], target: tuple[float, float]
) -> Affine:
    return np.column_stack([linear, np.array(target) - linear @ np.array(source)])


def _round_up(value: int, multiple: int) -> int:
    return (value + multiple - 1) // multiple * multiple
