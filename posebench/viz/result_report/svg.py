"""Inline SVG that takes its colours from the page: elements, axes and scales."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FONT = 13  # of a chart's text, in its own units, which are pixels where the page is wide enough
WIDTH = 460  # of a chart: two fit beside each other, and one on a telephone


@dataclass(frozen=True)
class Scale:
    """Places values on an axis."""

    low: float
    high: float
    start: float  # place of the lowest value
    end: float  # place of the highest

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values on the axis, at most this many."""
        rough = (self.high - self.low) / max(most - 1, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]


def around(
    values: Iterable[float], *, zero: bool = False, margin: float = 0.06
) -> tuple[float, float]:
    """Return limits of an axis that shows all values that are numbers.

    Args:
        values: any.
        zero: whether the axis shows 0 too.
        margin: free space at either end, relative to the range.
    """
    known = [value for value in values if math.isfinite(value)] + [0.0] * zero
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low == high:  # any axis does
        reach = max(abs(high), 1.0) * 0.1
        return low - reach, high + reach
    reach = high - low
    return (
        low - margin * reach if low < 0 or not zero else low,
        high + margin * reach if high > 0 or not zero else high,
    )


def element(tag: str, content: str = "", **attributes: object) -> str:
    """Return an element; content is markup, and underscores in attributes' names become hyphens."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_written(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def _written(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    return str(value)


def number(value: float) -> str:
    """Return a coordinate with one decimal, without a needless one."""
    return f"{value:.1f}".removesuffix(".0")


def text(
    x: float, y: float, words: str, *, anchor: str = "start", kind: str = "", about: str = ""
) -> str:
    """Return a line of text whose middle has the height y; `about` is shown under the mouse."""
    return element(
        "text",
        html.escape(words) + _title(about),
        x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=kind or None,
    )  # fmt: skip


def rectangle(x: float, y: float, width: float, height: float, kind: str, about: str = "") -> str:
    """Return a rectangle; `about` is shown where the mouse rests on it."""
    return element(
        "rect", _title(about), x=x, y=y, width=max(width, 0.0), height=height, class_=kind
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def dot(x: float, y: float, radius: float, kind: str, about: str = "") -> str:
    return element("circle", _title(about), cx=x, cy=y, r=radius, class_=kind)


def path(points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> str:
    """Return a line through points, or the area that it encloses."""
    if not points:
        return ""
    steps = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return element("path", d=f"M{steps}{'Z' if closed else ''}", class_=kind)


def _title(about: str) -> str:
    return f"<title>{html.escape(about)}</title>" if about else ""


def group(parts: Iterable[str], kind: str) -> str:
    return element("g", "".join(parts), class_=kind)


def whisker(scale: Scale, y: float, low: float, high: float, kind: str = "whisker") -> str:
    """Return an interval as a line with ends; nothing where it is not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    left, right = scale(low), scale(high)
    ends = "".join(line(x, y - 3.5, x, y + 3.5, kind) for x in (left, right))
    return line(left, y, right, y, kind) + ends


def level_axis(
    scale: Scale, top: float, bottom: float, name: str, *, unit: str = "", zero: bool = False
) -> str:
    """Return the lines, numbers and name of a horizontal axis below a chart.

    Args:
        scale: of the axis.
        top: the height where the lines begin.
        bottom: where they end, above the numbers.
        name: what the axis shows.
        unit: written behind each number.
        zero: whether a stronger line marks 0.
    """
    parts = []
    ticks = scale.ticks()
    digits = 0 if all(abs(tick - round(tick)) < 1e-9 for tick in ticks) else _digits(ticks)
    for tick in ticks:
        x = scale(tick)
        parts.append(line(x, top, x, bottom, "zero" if zero and tick == 0 else "grid"))
        label = f"{tick:.{digits}f}{unit}".replace("-", "−")
        parts.append(text(x, bottom + 12, label, anchor="middle", kind="quiet"))
    middle = (scale.start + scale.end) / 2
    return "".join(parts) + text(middle, bottom + 30, name, anchor="middle", kind="quiet")


def upright_axis(scale: Scale, left: float, right: float, name: str) -> str:
    """Return the lines, numbers and name of a vertical axis on the left of a chart."""
    parts = []
    ticks = scale.ticks()
    digits = _digits(ticks)
    for tick in ticks:
        y = scale(tick)
        parts.append(line(left, y, right, y, "grid"))
        parts.append(text(left - 6, y, f"{tick:.{digits}f}", anchor="end", kind="quiet"))
    parts.append(text(left - 30, min(scale.start, scale.end) - 14, name, kind="quiet"))
    return "".join(parts)


def _digits(ticks: Sequence[float]) -> int:
    return next(d for d in range(6) if all(abs(t - round(t, d)) < 1e-9 for t in ticks))


def chart(width: float, height: float, about: str, parts: Iterable[str]) -> str:
    """Return a chart.

    Args:
        width: in pixels where the page has the space; it shrinks with the page.
        height: likewise.
        about: what it shows, in a sentence, for those who do not see it.
        parts: its elements.
    """
    return element(
        "svg", "".join(parts),
        class_="chart", viewBox=f"0 0 {number(width)} {number(height)}", width=number(width),
        height=number(height), role="img", aria_label=about,
    )  # fmt: skip


def text_width(words: str) -> float:
    """Return about the width of a text in a chart; fonts differ between readers."""
    return 0.58 * FONT * len(words)
