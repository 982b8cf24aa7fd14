"""Charts with two axes: precision against recall, and how far scores can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posebench.viz.result_report.svg import (
    Scale,
    chart,
    dot,
    group,
    level_axis,
    line,
    path,
    rectangle,
    upright_axis,
)

_LEFT, _TOP, _SIDE = 44.0, 26.0, 360.0
_BOTTOM = _TOP + _SIDE
_WIDTH = _LEFT + _SIDE + 14
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A curve, and a band around it."""

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
    """Draw curves in a square from 0 to 1 on both axes.

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
    return chart(_WIDTH, _BOTTOM + 40, about, parts)


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
    return chart(_WIDTH, _BOTTOM + 40, about, parts)


def _axes() -> tuple[Scale, Scale]:
    return Scale(0, 1, _LEFT, _LEFT + _SIDE), Scale(0, 1, _BOTTOM, _TOP)


def _lines(x: Scale, y: Scale, names: tuple[str, str]) -> str:
    upright = upright_axis(y, _LEFT, _LEFT + _SIDE, names[1])
    return upright + level_axis(x, _TOP, _BOTTOM, names[0])


def _placed(points: Points, x: Scale, y: Scale) -> list[tuple[float, float]]:
    return [(x(one), y(other)) for one, other in points]
