"""Poses as inline SVG over a picture or a plain ground, with what is wrong about them marked.

Shapes: K keypoints. Coordinates are x, y in pixels of the image.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from posebench.skeleton import Skeleton
from posebench.viz.colours import Colour, shades_of
from posebench.viz.draw import limb_side, side_of
from posebench.viz.result_report.svg import element, line, number, text

PANEL = 320  # the long side of a panel, in its own units
_LEAST = 1.4  # width of a limb
_LABEL = 10  # size of a label's text; of people who are small it would hide too much
_NOBODY: dict[str, Colour] = {
    "left": (190, 196, 204), "centre": (158, 166, 176), "right": (122, 130, 141),
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A person, or a detection."""

    points: NDArray[np.float64]  # (K, 2)
    visible: NDArray[np.bool_]  # (K,) False: is not drawn
    hidden: NDArray[np.bool_] | None = None  # (K,) annotated as occluded: dashed limbs
    colour: int | None = None  # equal numbers, equal colours; None: grey, it is nobody
    label: str = ""  # at the head, such as a score


@dataclass(frozen=True)
class Mark:
    """A keypoint in a wrong place."""

    token: str  # error class / keypoint / model
    at: tuple[float, float]
    right: tuple[float, float] | None  # where it belongs
    about: str  # "left_wrist: swap"


@dataclass(frozen=True)
class Box:
    """A person who is missed, or a detection that is wrong as a whole."""

    token: str  # error class / nothing / model
    low: tuple[float, float]  # x, y of the top left corner
    high: tuple[float, float]
    about: str  # "duplicate, score 0.71"


@dataclass(frozen=True)
class Panel:
    """One view of an image: as annotated, or as a model sees it."""

    title: str
    people: Sequence[Drawn]
    marks: Sequence[Mark] = ()
    boxes: Sequence[Box] = ()
    notes: Sequence[str] = field(default=())  # what is wrong, in words


def panel_svg(panel: Panel, size: tuple[float, float], skeleton: Skeleton, picture: str) -> str:
    """Return a panel.

    Args:
        panel: what it shows.
        size: width and height of the image in pixels.
        skeleton: names the keypoints.
        picture: id of an <image> of this page that has the image; empty: a plain ground.
    """
    scale = PANEL / max(size)
    width, height = size[0] * scale, size[1] * scale
    parts = [element("rect", width=width, height=height, class_="plain")]
    if picture:
        parts.append(element("use", href=f"#{picture}"))
    parts += [_person(one, scale, (width, height), skeleton) for one in reversed(panel.people)]
    parts += [_box(box, scale) for box in panel.boxes]
    parts += [_mark(mark, scale) for mark in panel.marks]
    said = ", ".join([f"{panel.title}: {_count(len(panel.people))}", *panel.notes])
    return element(
        "svg", "".join(parts),
        class_="pose", viewBox=f"0 0 {number(width)} {number(height)}", role="img", aria_label=said,
    )  # fmt: skip


def _count(people: int) -> str:
    return "1 person" if people == 1 else f"{people} people"


def _person(person: Drawn, scale: float, limits: tuple[float, float], skeleton: Skeleton) -> str:
    seen = person.visible & np.isfinite(person.points).all(-1)
    if not seen.any():
        return ""
    points = np.where(seen[:, None], person.points * scale, 0.0)
    extent = float(np.hypot(*np.ptp(points[seen], axis=0)))
    width = max(_LEAST, min(0.02 * extent, 0.0085 * PANEL))
    hidden = np.zeros(len(points), np.bool_) if person.hidden is None else person.hidden
    shades = _NOBODY if person.colour is None else shades_of(person.colour)
    limbs: dict[tuple[str, bool], list[str]] = {}
    for a, b in skeleton.limbs:
        if seen[a] and seen[b]:
            key = (limb_side(skeleton, a, b), bool(hidden[a] or hidden[b]))
            limbs.setdefault(key, []).append(f"M{_at(points[a])}L{_at(points[b])}")
    joints: dict[str, list[str]] = {}
    for k in np.flatnonzero(seen).tolist():
        joints.setdefault(side_of(skeleton, k), []).append(f"M{_at(points[k])}h0")
    outline = "".join(chain(*limbs.values(), *joints.values()))
    parts = [element("path", d=outline, class_="edge", stroke_width=width + 1.6)]
    for (side, dashed), own in limbs.items():
        dash = f"{number(1.6 * width)} {number(2 * width)}" if dashed else None
        parts.append(_stroke(own, shades[side], width, dash))
    parts += [_stroke(own, shades[side], 1.8 * width, None) for side, own in joints.items()]
    low = points[seen].min(0)
    if person.label and extent > 3 * _LABEL:
        x = min(max(float(low[0]), 2.0), limits[0] - 26)
        y = min(max(float(low[1]) - 9, 7.0), limits[1] - 4)
        parts.append(text(x, y, person.label, kind="score"))
    return element("g", "".join(parts))


def _stroke(steps: Sequence[str], colour: Colour, width: float, dash: str | None) -> str:
    return element(
        "path", d="".join(steps), stroke=f"#{bytes(colour).hex()}", stroke_width=width,
        stroke_dasharray=dash,
    )  # fmt: skip


def _box(box: Box, scale: float) -> str:
    x, y = box.low[0] * scale - 3, box.low[1] * scale - 3
    width = (box.high[0] - box.low[0]) * scale + 6
    height = (box.high[1] - box.low[1]) * scale + 6
    shape = element("rect", x=x, y=y, width=width, height=height, rx=3)
    return _marked(shape, box.token, f"<title>{html.escape(box.about)}</title>")


def _mark(mark: Mark, scale: float) -> str:
    """Return a sign whose form says the class too, since colours alone do not for everybody."""
    x, y = mark.at[0] * scale, mark.at[1] * scale
    shape = _form(mark.token.partition("/")[0], x, y)
    if mark.right is not None:
        shape = line(x, y, mark.right[0] * scale, mark.right[1] * scale, "lead") + shape
    return _marked(shape, mark.token, f"<title>{html.escape(mark.about)}</title>")


def _form(kind: str, x: float, y: float) -> str:
    """Return the sign of a keypoint's class: a cross, a diamond, a triangle or a ring."""
    r = 4.5
    forms: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
        "miss": (((-r, -r), (r, r)), ((-r, r), (r, -r))),
        "swap": (((0, -r - 1), (r + 1, 0), (0, r + 1), (-r - 1, 0), (0, -r - 1)),),
        "inversion": (((0, -r - 1), (r + 1, r), (-r - 1, r), (0, -r - 1)),),
    }
    if kind not in forms:
        return element("circle", cx=x, cy=y, r=r)
    strokes = (
        "M" + "L".join(f"{number(x + dx)} {number(y + dy)}" for dx, dy in stroke)
        for stroke in forms[kind]
    )
    return element("path", d="".join(strokes))


def _marked(shape: str, token: str, about: str = "") -> str:
    # Twice: a dark line below makes the coloured one seen on any picture.
    kind = token.partition("/")[0]
    below = element("g", shape, class_="under")
    return element("g", about + below + shape, class_=f"mark k-{kind}", data_error=token)


def _at(point: NDArray[np.float64]) -> str:
    return f"{number(float(point[0]))} {number(float(point[1]))}"


def sign(kind: str) -> str:
    """Return the sign of an error class, for buttons and legends."""
    whole = kind in ("duplicate", "background", "missed", "score", "localisation")
    shape = (
        _marked(element("rect", x=3, y=3, width=12, height=12, rx=2), kind)
        if whole
        else _marked(_form(kind, 9, 9), kind)
    )
    return element("svg", shape, class_="sign", viewBox="0 0 18 18", aria_hidden="true")
