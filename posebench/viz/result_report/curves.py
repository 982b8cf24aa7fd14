"""Charts with two axes: precision against recall, and how far scores can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posebench.viz.result_report.svg import (
    WIDTH,
    Scale,
    chart,
    dot,
    group,
    level_axis,
    line,
    path,
    rectangle,
    text,
    text_width,
    upright_axis,
)

_LEFT, _TOP, _SIDE = 44.0, 26.0, 330.0
_BOTTOM = _TOP + _SIDE
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A curve with what it is called, and a band around it."""

    name: str
    points: Points
    kind: str = "s0"  # its colour
    low: Points = ()  # the band's lower limit; empty: none
    high: Points = ()
    thin: bool = False


@dataclass(frozen=True)
class Bin:
    """Detections of similar scores: what the scores say, and what the detections are."""

    score: float  # mean
    value: float  # mean OKS, or the share that is true
    count: int


def curves(lines: Sequence[Line], names: tuple[str, str], about: str) -> str:
    """Draw curves in a square from 0 to 1 on both axes, with their names on the right.

    Args:
        lines: the curves.
        names: of the level and of the upright axis.
        about: for those who do not see it.
    """
    x, y = _axes()
    parts = [_lines(x, y, names)]
    for one in lines:
        band = [*one.low, *reversed(list(one.high))]
        shapes = [
            path(_placed(band, x, y), "band", closed=True),
            path(_placed(one.points, x, y), "curve thin" if one.thin else "curve"),
        ]
        parts.append(group(shapes, one.kind))
    parts += _key([(line.name, line.kind, line.thin) for line in lines])
    return chart(WIDTH, _BOTTOM + 40, about, parts)


def _key(entries: Sequence[tuple[str, str, bool]]) -> list[str]:
    """Return the curves' names, right of the square."""
    parts = []
    left = _LEFT + _SIDE + 8
    for index, (name, kind, thin) in enumerate(entries):
        height = _TOP + 10 + 18 * index
        mark = line(left, height, left + 14, height, "curve thin" if thin else "curve")
        parts += [group([mark], kind), text(left + 18, height, _cut(name, WIDTH - left - 18))]
    return parts


def _cut(name: str, width: float) -> str:
    while len(name) > 4 and text_width(name) > width + 8:
        name = name[:-2].rstrip("…") + "…"
    return name


def reliability(bins: Sequence[Bin], names: tuple[str, str], about: str) -> str:
    """Draw what detections are against what their scores say; on the diagonal, scores are right.

    Args:
        bins: from the lowest scores to the highest; empty ones are left out.
        names: of the level and of the upright axis.
        about: for those who do not see it.
    """
    x, y = _axes()
    shown = [one for one in bins if one.count]
    most = max((one.count for one in shown), default=1)
    parts = [_lines(x, y, names)]
    parts.append(line(x(0), y(0), x(1), y(1), "diagonal"))
    for one in shown:  # how many there are, as a low bar
        height = 40 * one.count / most
        parts.append(
            rectangle(
                x(one.score) - 5, _BOTTOM - height, 10, height, "count", f"{one.count} detections"
            )
        )
    gaps = [line(x(b.score), y(b.score), x(b.score), y(b.value), "gap") for b in shown]
    dots = [
        dot(
            x(b.score), y(b.value), 4.5, "bar",
            f"score {b.score:.2f}: {b.value:.2f} ({b.count} detections)",
        )
        for b in shown
    ]  # fmt: skip
    trace = path(_placed([(b.score, b.value) for b in shown], x, y), "curve")
    parts.append(group([*gaps, trace, *dots], "s0"))
    return chart(WIDTH, _BOTTOM + 40, about, parts)


def _axes() -> tuple[Scale, Scale]:
    return Scale(0, 1, _LEFT, _LEFT + _SIDE), Scale(0, 1, _BOTTOM, _TOP)


def _lines(x: Scale, y: Scale, names: tuple[str, str]) -> str:
    upright = upright_axis(y, _LEFT, _LEFT + _SIDE, names[1])
    return upright + level_axis(x, _TOP, _BOTTOM, names[0])


def _placed(points: Points, x: Scale, y: Scale) -> list[tuple[float, float]]:
    return [(x(one), y(other)) for one, other in points]
