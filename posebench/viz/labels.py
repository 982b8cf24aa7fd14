"""Names beside the points of a plot that cover neither each other nor a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.text import Text

SIZE_PT = 7.0  # of the font
_RINGS_PT = (5, 9, 14, 20, 27, 35, 44, 54, 65, 78, 92, 108, 126, 146)  # from a point to its name
_SHORT_PT = 9  # a name that is further away gets a line to its point
_ROOM_PT = 1.0  # around a name
_STEPS = 16  # directions; those to the sides come first

Box = tuple[float, float, float, float]  # left, bottom, right, top
Segment = tuple[float, float, float, float]  # from x, y to x, y


def label_points(
    axis: Any,
    points: Sequence[tuple[float, float, str]],
    *,
    others: Sequence[tuple[float, float]] = (),
    lines: Sequence[Segment] = (),
    radius_pt: float = 4.0,
) -> None:
    """Write a name beside each point, as near as it fits; from afar a line leads to the point.

    The places are tried in a fixed order, so equal points give equal plots. A name that fits
    nowhere within the axes is put where it covers least.

    Args:
        axis: with its final limits; the layout of its figure is fixed hereby.
        points: x, y and name.
        others: points without a name, which are not to be covered either.
        lines: drawn between points, likewise.
        radius_pt: of all points.
    """
    figure = axis.figure
    figure.draw_without_rendering()  # limits and positions of axes are not known before
    figure.set_layout_engine("none")
    pt = figure.dpi / 72  # pixels per point
    # Two tables may print the same: such a point has one name.
    points = sorted(dict.fromkeys(points), key=lambda point: (point[1], point[0], point[2]))

    def pixels(x: float, y: float) -> tuple[float, float]:
        left, bottom = axis.transData.transform((x, y))
        return float(left), float(bottom)

    centres = [pixels(x, y) for x, y, _ in points]
    discs = list(dict.fromkeys(centres + [pixels(x, y) for x, y in others]))
    radius = radius_pt * pt
    taken: list[Box] = [(x - radius, y - radius, x + radius, y + radius) for x, y in discs]
    drawn: list[Segment] = [(*pixels(*line[:2]), *pixels(*line[2:])) for line in lines]
    bounds = axis.get_window_extent()
    inside = (bounds.x0, bounds.y0, bounds.x1, bounds.y1)

    def crowd(index: int) -> int:
        """Return how many points are near, since those in a crowd choose first."""
        return sum(math.dist(centres[index], other) < 60 * pt for other in centres)

    for index in sorted(range(len(points)), key=lambda i: (-crowd(i), i)):
        x, y, name = points[index]
        text = axis.annotate(
            name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=SIZE_PT,
            ha="center", va="center",
        )  # fmt: skip
        extent = Text.get_window_extent(text)
        size = (extent.width + 2 * _ROOM_PT * pt, extent.height + 2 * _ROOM_PT * pt)
        place = _place(centres[index], size, radius, pt, taken, drawn, inside)
        (middle_x, middle_y), leader = place
        offset = ((middle_x - centres[index][0]) / pt, (middle_y - centres[index][1]) / pt)
        text.set_position(offset)
        taken.append(_box((middle_x, middle_y), size))
        if leader:
            drawn.append(leader)
            ends = [
                ((leader[i] - centres[index][0]) / pt, (leader[i + 1] - centres[index][1]) / pt)
                for i in (0, 2)
            ]
            axis.annotate(
                "", (x, y), xytext=ends[1], textcoords="offset points",
                arrowprops={
                    "arrowstyle": "-", "color": "0.6", "linewidth": 0.5,
                    "shrinkA": 0, "shrinkB": radius_pt,
                },
            )  # fmt: skip


def _place(
    centre: tuple[float, float],
    size: tuple[float, float],
    radius: float,
    pt: float,
    taken: Sequence[Box],
    drawn: Sequence[Segment],
    inside: Box,
) -> tuple[tuple[float, float], Segment | None]:
    """Return the middle of a name, and the line to its point if it is not next to it."""
    least, best = math.inf, None
    own = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
    for distance, middle in _places(centre, size, pt):
        box = _box(middle, size)
        leader: Segment | None = None
        if distance > _SHORT_PT:
            near = (
                min(max(centre[0], box[0]), box[2]),
                min(max(centre[1], box[1]), box[3]),
            )
            leader = (*centre, *near)
        # Covering a name or a point is worse than any number of lines that cross.
        covered = 100 * sum(_overlap(box, o) + size[1] ** 2 * (_overlap(box, o) > 0) for o in taken)
        covered += sum(_crosses(line, box) for line in drawn) * size[1] ** 2
        if leader:
            covered += sum(_crosses(leader, o) for o in taken if o != own) * size[1] ** 2
            covered += sum(_cross(leader, line) for line in drawn) * size[1] ** 2
        outside = size[0] * size[1] - _overlap(box, inside)
        cost = covered + 100 * outside
        if cost < least - 1e-6:
            least, best = cost, (middle, leader)
        if least <= 1e-6:
            break
    assert best is not None  # there is always a place
    return best


def _places(
    centre: tuple[float, float], size: tuple[float, float], pt: float
) -> Iterator[tuple[float, tuple[float, float]]]:
    """Yield distances in points, and the middles of names there, the nearest first."""
    turns = sorted(range(_STEPS), key=lambda k: (abs(math.sin(2 * math.pi * k / _STEPS)) > 0.3, k))
    for distance in _RINGS_PT:
        for k in turns:
            x, y = (f(2 * math.pi * k / _STEPS) for f in (math.cos, math.sin))
            # The side or corner of the name that faces the point lies on the ring.
            side_x = 0.0 if abs(x) < 0.3 else math.copysign(0.5, x)
            side_y = 0.0 if abs(y) < 0.3 else math.copysign(0.5, y)
            yield (
                distance,
                (
                    centre[0] + distance * pt * x + side_x * size[0],
                    centre[1] + distance * pt * y + side_y * size[1],
                ),
            )


def _box(middle: tuple[float, float], size: tuple[float, float]) -> Box:
    (x, y), (width, height) = middle, size
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(one: Box, two: Box) -> float:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    return max(width, 0.0) * max(height, 0.0)


def _crosses(line: Segment, box: Box) -> bool:
    """Return whether a line passes through a box."""
    if any(box[0] < x < box[2] and box[1] < y < box[3] for x, y in (line[:2], line[2:])):
        return True
    left, bottom, right, top = box
    return _cross(line, (left, bottom, right, top)) or _cross(line, (left, top, right, bottom))


def _cross(one: Segment, two: Segment) -> bool:
    def side(line: Segment, x: float, y: float) -> float:
        return (line[2] - line[0]) * (y - line[1]) - (line[3] - line[1]) * (x - line[0])

    return (
        side(one, *two[:2]) * side(one, *two[2:]) < 0
        and side(two, *one[:2]) * side(two, *one[2:]) < 0
    )
