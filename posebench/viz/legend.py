"""A legend of what colours, lines and discs mean, drawn at the edge of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from posebench.viz.capsules import Capsules, paint
from posebench.viz.colours import INK, RGB, WHITE, Colour, shades_of
from posebench.viz.draw import DASHED_BELOW
from posebench.viz.figures import heat_scale, shortened
from posebench.viz.text import draw_text, text_width

LegendPart: TypeAlias = Literal["predicted", "annotated", "heatmaps", "steps"]

_LEAST_WIDTH = 320  # pixels, in which every entry has room
# Paints a sign into an image around (x, y); `unit` is the height of the text in pixels.
_Sign: TypeAlias = Callable[[RGB, float, float, float], None]


def with_legend(picture: RGB, parts: Sequence[LegendPart]) -> RGB:
    """Return the picture with a legend below it that explains what is drawn on it.

    Args:
        picture: (H, W, 3) uint8 RGB, not modified.
        parts: what the picture shows.

    Returns:
        uint8 RGB, at least 320 pixels wide; a narrower picture is on white.
    """
    below = legend(max(picture.shape[1], _LEAST_WIDTH), parts)
    missing = below.shape[1] - picture.shape[1]
    padding = (0, 0), (missing // 2, missing - missing // 2), (0, 0)
    return np.vstack([np.pad(picture, padding, constant_values=255), below])


def legend(width: int, parts: Sequence[LegendPart]) -> RGB:
    """Return a legend (h, width, 3) uint8 RGB; its height depends on what fits into a line."""
    size = max(11, min(20, width // 62))
    entries = [entry for part in parts for entry in _ENTRIES[part]]
    sign_width, gap = 3.2 * size, 0.6 * size
    places: list[tuple[float, int, str, _Sign]] = []  # left edge, line, text, sign
    left, line = gap, 0
    for text, sign in entries:
        text = shortened(text, round(width - sign_width - 3 * gap), size)
        length = sign_width + gap + text_width(text, size)
        if left > gap and left + length > width - gap:
            left, line = gap, line + 1
        places.append((left, line, text, sign))
        left += length + 3 * gap
    page = np.full((round((line + 1) * 1.9 * size + size), width, 3), WHITE, np.uint8)
    for left, line, text, sign in places:
        y = size / 2 + (line + 0.5) * 1.9 * size
        sign(page, left + sign_width / 2, y, size)
        middle = left + sign_width + gap + text_width(text, size) / 2
        draw_text(page, text, (middle, y), size)
    return page


def _limb(side: str, *, person: int = 0, dash: bool = False, faint: bool = False) -> _Sign:
    def paint(image: RGB, x: float, y: float, unit: float) -> None:
        _line(image, x - 1.3 * unit, x + 1.3 * unit, y, unit, shades_of(person)[side],
              dash=dash, opacity=0.35 if faint else 1.0)  # fmt: skip

    return paint


def _line(
    image: RGB, start: float, end: float, y: float, unit: float, colour: Colour,
    *, dash: bool = False, opacity: float = 1.0,
) -> None:  # fmt: skip
    radius = 0.2 * unit
    limb = Capsules(
        np.array([start + radius, y]),
        np.array([end - radius, y]),
        radius=radius,
        opacity=opacity,
        dash=0.9 * unit if dash else 0.0,
    )
    paint(image, limb.strokes(INK, 0.55, grown=0.1 * unit))
    paint(image, limb.strokes(colour))


def _people(image: RGB, x: float, y: float, unit: float) -> None:
    for number, shift in enumerate((-1.1, 0.0, 1.1)):
        start = x + (shift - 0.45) * unit
        _line(image, start, start + 0.9 * unit, y, unit, shades_of(number)["centre"])


def _disc(radius: float, opacity: float, *, hollow: bool = False) -> _Sign:
    def paint(image: RGB, x: float, y: float, unit: float) -> None:
        _draw_disc(image, x, y, radius * unit, shades_of(0)["centre"], opacity, hollow=hollow)

    return paint


def _draw_disc(
    image: RGB, x: float, y: float, radius: float, colour: Colour, opacity: float, *, hollow: bool
) -> None:
    point = np.array([x, y])
    hole = 0.55 * radius if hollow else 0.0
    disc = Capsules(point, point, radius=radius, opacity=opacity, hole=hole)
    paint(image, disc.strokes(INK, 0.55, grown=0.3 * radius))
    paint(image, disc.strokes(colour))


def _score(image: RGB, x: float, y: float, unit: float) -> None:
    ends = np.array([x - 0.7 * unit, y]), np.array([x + 0.7 * unit, y])
    pill = Capsules(*ends, radius=0.7 * unit)
    paint(image, pill.strokes(INK, 0.55, grown=1.0))
    paint(image, pill.strokes(shades_of(0)["centre"]))
    draw_text(image, "0.87", (x, y), round(0.85 * unit))


def _scale(image: RGB, x: float, y: float, unit: float) -> None:
    bar = heat_scale(round(2 * unit), max(1, round(0.75 * unit)))
    height, width = bar.shape[:2]
    top, left = round(y - height / 2), round(x - width / 2)
    image[top : top + height, left : left + width] = bar
    draw_text(image, "0", (left - 0.4 * unit, y), round(unit))
    draw_text(image, "1", (left + width + 0.4 * unit, y), round(unit))


def _path(image: RGB, x: float, y: float, unit: float) -> None:
    _line(image, x - 0.9 * unit, x + 1.3 * unit, y, 0.5 * unit, WHITE)
    _draw_disc(image, x - 1.0 * unit, y, 0.35 * unit, WHITE, 1.0, hollow=True)


_LIMBS: list[tuple[str, _Sign]] = [
    ("a hue per person", _people),
    ("left side", _limb("left")),
    ("right side", _limb("right")),
    ("both sides", _limb("centre")),
]
_PREDICTED: list[tuple[str, _Sign]] = [
    *_LIMBS,
    ("confident keypoint", _disc(0.5, 1.0)),
    ("uncertain keypoint", _disc(0.35, 0.35)),
    ("limb of an uncertain keypoint", _limb("centre", faint=True)),
    (
        f"keypoint below {DASHED_BELOW:g} of the person's best",
        _limb("centre", dash=True, faint=True),
    ),
    ("the person's score", _score),
]
_ENTRIES: dict[LegendPart, list[tuple[str, _Sign]]] = {
    "predicted": _PREDICTED,
    "annotated": [
        ("annotated as occluded", _disc(0.5, 1.0, hollow=True)),
        ("limb of an occluded keypoint", _limb("centre", dash=True)),
    ],
    "heatmaps": [("heatmap value", _scale)],
    "steps": [("a query's path from its start (disc)", _path)],
}
