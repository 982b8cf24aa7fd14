"""Props: things that stand among people and occlude them, and the stools that people sit on."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from posebench.synthetic.clothes import PALETTES, Colour, pick, shade
from posebench.synthetic.shapes import AROUND, Floats, Shape, fixed

_THING = 1  # the part of props in the id map; they belong to no person


def sample_prop(rng: Generator, x: float, y: float, height: float) -> list[Shape]:
    """Return a random prop that stands at (x, y); `height` is a person's there, in pixels."""
    colour = shade(pick(rng, pick(rng, PALETTES)[:4]), 0.9)
    return pick(rng, (_pole, _box, _ball, _bush, _table, _box))(x, y, height, colour)


def seat(x: float, top: float, bottom: float, height: float, colour: Colour) -> list[Shape]:
    """Return a round stool from its `top` row to its `bottom` row."""
    width = 0.13 * height
    body = [[x - width, top], [x + width, top], [x + width, bottom], [x - width, bottom]]
    return [
        _disc(x, bottom, width, 0.3 * width, shade(colour, 0.7)),
        _shape(body, shade(colour, 0.7)),
        _disc(x, top, width, 0.3 * width, colour),
    ]


def _shape(points: Floats | list[list[float]], colour: Colour) -> Shape:
    return Shape(fixed(np.asarray(points)), colour, _THING)


def _disc(x: float, y: float, width: float, height: float, colour: Colour) -> Shape:
    return _shape(AROUND * [width, height] + np.array([x, y]), colour)


def _upright(x: float, y: float, width: float, height: float, colour: Colour) -> Shape:
    left, right = x - width / 2, x + width / 2
    return _shape([[left, y - height], [right, y - height], [right, y], [left, y]], colour)


def _pole(x: float, y: float, height: float, colour: Colour) -> list[Shape]:
    width = 0.06 * height
    tall = 1.9 * height
    return [
        _disc(x, y, width, 0.3 * width, shade(colour, 0.5)),
        _upright(x, y, width, tall, shade(colour, 0.7)),
        _upright(x - 0.2 * width, y, 0.25 * width, tall, shade(colour, 1.1)),
        _disc(x, y - tall, 2.2 * width, 2.2 * width, (252, 240, 206)),
    ]


def _box(x: float, y: float, height: float, colour: Colour) -> list[Shape]:
    side, top, slant = 0.42 * height, 0.34 * height, 0.1 * height
    left, right = x - side / 2, x + side / 2
    lid = [[left, y - top], [left + slant, y - top - slant]]
    lid += [[right + slant, y - top - slant], [right, y - top]]
    flank = [[right, y], [right, y - top], [right + slant, y - top - slant]]
    flank += [[right + slant, y - slant]]
    return [
        _upright(x, y, side, top, colour),
        _shape(lid, shade(colour, 1.25)),
        _shape(flank, shade(colour, 0.72)),
        _upright(x, y - 0.42 * top, side, 0.12 * top, shade(colour, 0.8)),
    ]


def _ball(x: float, y: float, height: float, colour: Colour) -> list[Shape]:
    radius = 0.12 * height
    middle, glint = y - radius, 0.42 * radius
    return [
        _disc(x, middle, 1.06 * radius, 1.06 * radius, shade(colour, 0.55)),
        _disc(x, middle, radius, radius, colour),
        _disc(x, middle, 0.3 * radius, radius, (248, 244, 236)),
        _disc(x - glint, middle - glint, 0.28 * radius, 0.28 * radius, shade(colour, 1.5)),
    ]


def _bush(x: float, y: float, height: float, _colour: Colour) -> list[Shape]:
    green = (92, 128, 84)
    shapes = []
    for dx, dy, radius, tone in (
        (-0.17, 0.12, 0.15, 0.8), (0.18, 0.12, 0.15, 0.85), (0, 0.2, 0.2, 1.0),
        (-0.06, 0.25, 0.12, 1.15),
    ):  # fmt: skip
        side = radius * height
        shapes.append(_disc(x + dx * height, y - dy * height, side, side, shade(green, tone)))
    return shapes


def _table(x: float, y: float, height: float, colour: Colour) -> list[Shape]:
    width, top = 0.62 * height, 0.4 * height
    legs = [
        _upright(x + side * 0.42 * width, y, 0.05 * height, top, shade(colour, 0.55))
        for side in (-1, 1)
    ]
    plate = [[x - 0.5 * width, y - top], [x + 0.5 * width, y - top]]
    plate += [[x + 0.42 * width, y - 1.25 * top], [x - 0.42 * width, y - 1.25 * top]]
    return [
        *legs,
        _shape(plate, shade(colour, 1.15)),
        _upright(x, y - 0.92 * top, width, 0.08 * top, shade(colour, 0.75)),
    ]
