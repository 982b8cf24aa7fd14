"""Filled shapes: rounded hulls of circles, in fixed-point image coordinates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from posebench.synthetic.clothes import Colour

Floats = NDArray[np.float64]

_SHIFT = 4  # OpenCV draws at 1/16 of a pixel


class Shape(NamedTuple):
    """A filled convex polygon; later shapes are painted over earlier ones."""

    outline: NDArray[np.int32]  # (K, 2) in 1/16 pixel
    colour: Colour
    part: int = 0  # its part in the id map; 0: none, since the shape lies on another one


_ANGLES = np.arange(20) * (2 * np.pi / 20)
AROUND = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)  # (K, 2) unit vectors


def hulls(centres: Floats, radii: Floats) -> tuple[Floats, Floats]:
    """Return the rounded convex hulls of groups of circles.

    In each direction the hull reaches as far as the farthest of its circles, so every hull has one
    corner per direction, and all hulls are computed at once. Two circles make a limb, five a chest,
    one a ball.

    Args:
        centres: (..., C, 2) centres of the circles.
        radii: (..., C) radii of the circles.

    Returns:
        (..., K, 2) polygons with a corner per direction of AROUND.
        (..., K) radii of the circles that the corners belong to.
    """
    reach = centres @ AROUND.T + radii[..., None]  # (..., C, K)
    centre = centres[..., :1, :]
    radius = radii[..., :1]
    farthest = reach[..., 0, :]
    # A loop over a handful of circles is several times faster than argmax and indexing.
    for other in range(1, centres.shape[-2]):
        farther = reach[..., other, :] > farthest
        farthest = np.where(farther, reach[..., other, :], farthest)
        centre = np.where(farther[..., None], centres[..., other : other + 1, :], centre)
        radius = np.where(farther, radii[..., other : other + 1], radius)
    return centre + radius[..., None] * AROUND, np.broadcast_to(radius, farthest.shape)


def fixed(polygons: Floats) -> NDArray[np.int32]:
    """Return polygons in the fixed-point coordinates that Shape holds."""
    return np.rint(polygons * (1 << _SHIFT)).astype(np.int32)


def paint(canvas: NDArray[np.uint8], shapes: Iterable[Shape]) -> None:
    """Paint the shapes in order into an (H, W, 3) image, with anti-aliased edges."""
    for outline, colour, _ in shapes:
        cv2.fillConvexPoly(canvas, outline, colour, cv2.LINE_AA, _SHIFT)


def paint_ids(ids: NDArray[np.uint8], shapes: Iterable[Shape], base: int) -> None:
    """Set the pixels that the shapes cover in an (H, W) map to `base` plus the shape's part."""
    for outline, _, part in shapes:
        if part:
            cv2.fillConvexPoly(ids, outline, base + part, cv2.LINE_8, _SHIFT)
