"""The charts of the reports: costs, shares, and values with intervals, one below another.

AP, costs and shares come as fractions and are shown in percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posebench.viz.result_report.svg import (
    WIDTH,
    Scale,
    around,
    chart,
    dot,
    group,
    level_axis,
    line,
    rectangle,
    text,
    text_width,
    whisker,
)

_ROW = 26.0  # of a bar with its space
_BAR = 15.0
_TOP = 6.0
_AXIS = 40.0  # below the rows
_GAP = 10.0


@dataclass(frozen=True)
class Step:
    """What mending one kind of error brings, after all kinds above it were mended."""

    kind: str  # its colour
    label: str
    before: float
    after: float


@dataclass(frozen=True)
class Measure:
    """A value with its interval, which may be unknown (nan)."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    kind: str = "s0"  # its colour
    note: str = ""  # on the right


@dataclass(frozen=True)
class Row:
    """Values of several models in one group."""

    label: str
    values: tuple[Measure, ...]  # one for each model, `label` its name
    note: str = ""  # such as the number of people
    faint: bool = False  # too few people to say much


def waterfall(start: str, steps: Sequence[Step], about: str) -> str:
    """Draw how AP grows to 100 as one kind of error after another is mended.

    Args:
        start: what stands before the bar of the model's own AP.
        steps: from the first mended to the last; at least one.
        about: for those who do not see it.
    """
    left = _label_space([start, *(step.label for step in steps)])
    scale = Scale(0, 100, left, WIDTH - 14)
    bottom = _TOP + _ROW * (1 + len(steps))
    parts = [level_axis(scale, _TOP, bottom, "AP, %")]
    y = _TOP + _ROW / 2
    base = 100 * steps[0].before
    parts += [
        _named(left, y, start),
        rectangle(scale(0), y - _BAR / 2, scale(base) - scale(0), _BAR, "base"),
        _beside(scale(base), y, _percent(base), scale.end),
    ]
    for step in steps:
        low, high = sorted((100 * step.before, 100 * step.after))
        parts.append(line(scale(100 * step.before), y, scale(100 * step.before), y + _ROW, "joint"))
        y += _ROW
        gain = 100 * (step.after - step.before)
        tip = f"{step.label}: {_percent(100 * step.before)} to {_percent(100 * step.after)} AP"
        bar = rectangle(scale(low), y - _BAR / 2, scale(high) - scale(low), _BAR, "bar", tip)
        parts += [
            _named(left, y, step.label),
            group([bar], f"k-{step.kind}"),
            _beside(scale(high), y, _signed(gain), scale.end, scale(low)),
        ]
    return chart(WIDTH, bottom + _AXIS, about, parts)


def bars(rows: Sequence[Measure], axis: str, about: str) -> str:
    """Draw values as bars with whiskers, from 0."""
    left = _label_space([row.label for row in rows])
    ends = [100 * end for row in rows for end in (row.value, row.low, row.high)]
    scale = Scale(*around([*ends, 1.0], zero=True), left, WIDTH - 50)
    bottom = _TOP + _ROW * len(rows)
    parts = [level_axis(scale, _TOP, bottom, axis, zero=True)]
    for index, row in enumerate(rows):
        y = _TOP + _ROW * (index + 0.5)
        low, high = sorted((0.0, 100 * row.value))
        bar = rectangle(scale(low), y - _BAR / 2, scale(high) - scale(low), _BAR, "bar", _said(row))
        reach = [100 * end for end in (row.value, row.high, 0.0) if math.isfinite(end)]
        parts += [
            _named(left, y, row.label),
            group([bar], row.kind),
            # On a ground of its own, or it would not be seen on light bars of dark screens.
            whisker(scale, y, 100 * row.low, 100 * row.high, "halo"),
            whisker(scale, y, 100 * row.low, 100 * row.high),
            text(scale(max(reach)) + 6, y, _percent(100 * row.value), kind="value"),
        ]
    return chart(WIDTH, bottom + _AXIS, about, parts)


def intervals(
    rows: Sequence[Row],
    axis: str,
    about: str,
    *,
    difference: bool = False,
    quantiles: bool = False,
    limits: tuple[float, float] | None = None,
) -> str:
    """Draw values of one or more models as dots with whiskers, a row for each group.

    Args:
        rows: the groups.
        axis: what the values are.
        about: for those who do not see it.
        difference: whether 0 is marked, since the values are differences.
        limits: ends of the axis, as fractions; None: as the values need.
        quantiles: whether the whiskers are quantiles and no 95 % intervals.
    """
    left = _label_space([row.label for row in rows])
    notes = max((text_width(row.note) for row in rows), default=0.0)
    shown = [one for row in rows for one in row.values]
    ends = [100 * end for one in shown for end in (one.value, one.low, one.high)]
    if limits is None:
        low, high = around(ends, zero=difference or quantiles)
    else:
        low, high = 100 * limits[0], 100 * limits[1]
    scale = Scale(low, high, left, WIDTH - max(14.0, notes + _GAP))
    heights = [max(_ROW, 11.0 * len(row.values) + 13) for row in rows]
    bottom = _TOP + sum(heights)
    parts = [level_axis(scale, _TOP, bottom, axis, zero=difference)]
    top = _TOP
    for row, height in zip(rows, heights, strict=True):
        middle = top + height / 2
        own = [_named(left, middle, row.label)]
        if row.note:
            own.append(text(WIDTH - 4, middle, row.note, anchor="end", kind="quiet"))
        for index, one in enumerate(row.values):
            if not math.isfinite(one.value):
                continue
            y = middle + 11.0 * (index - (len(row.values) - 1) / 2)
            shape = [
                whisker(scale, y, 100 * one.low, 100 * one.high, "reach"),
                dot(scale(100 * one.value), y, 4, "bar", f"{row.label}, {_said(one, quantiles)}"),
            ]
            own.append(group(shape, one.kind))
        parts.append(group(own, "faint" if row.faint else "row"))
        top += height
    return chart(WIDTH, bottom + _AXIS, about, parts)


def shares(rows: Sequence[tuple[str, Mapping[str, float]]], axis: str, about: str) -> str:
    """Draw bars of parts, from 0 to 100 percent.

    Args:
        rows: a label, and the share of each kind in the order to be drawn.
        axis: what 100 percent are.
        about: for those who do not see it.
    """
    left = _label_space([label for label, _ in rows])
    scale = Scale(0, 100, left, WIDTH - 14)
    height = 20.0
    bottom = _TOP + height * len(rows)
    parts = []
    for index, (label, own) in enumerate(rows):
        y = _TOP + height * (index + 0.5)
        parts.append(_named(left, y, label))
        start = 0.0
        for kind, share in own.items():
            end = start + 100 * share
            tip = f"{label}: {kind} {100 * share:.1f} %"
            # A hairline between the parts, which tells them apart without colour.
            shape = rectangle(scale(start), y - 7, scale(end) - scale(start) - 1, 14, "bar", tip)
            parts.append(group([shape], f"k-{kind}"))
            start = end
    return chart(WIDTH, bottom + _AXIS, about, [level_axis(scale, _TOP, bottom, axis), *parts])


def _label_space(labels: Sequence[str]) -> float:
    return min(max(map(text_width, labels), default=0.0), 0.4 * WIDTH) + _GAP + 4


def _named(left: float, y: float, label: str) -> str:
    """Return a row's label, shortened if it is long: the whole is shown where the mouse rests."""
    most = int((left - _GAP) / text_width("n"))
    if len(label) <= most:
        return text(left - _GAP, y, label, anchor="end")
    return text(left - _GAP, y, f"{label[: most - 1]}…", anchor="end", about=label)


def _beside(right: float, y: float, words: str, end: float, left: float | None = None) -> str:
    """Return a figure on the right of a bar, or on its left where there is no space."""
    if right + 6 + text_width(words) <= end + 10:
        return text(right + 6, y, words, kind="value")
    return text((right if left is None else left) - 6, y, words, anchor="end", kind="value")


def _percent(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _said(one: Measure, quantiles: bool = False) -> str:
    text = f"{one.label}: {_percent(100 * one.value)}"
    if math.isfinite(one.low):
        interval = f"{_percent(100 * one.low)} to {_percent(100 * one.high)}"
        text += f" ({'' if quantiles else '95 %: '}{interval})"
    return text
