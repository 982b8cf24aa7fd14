"""Draw docs/images/group_pose.png: python docs/images/group_pose.py"""

from __future__ import annotations

import itertools
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INSTANCE, KEYPOINT, WITHIN, ACROSS = "#e9b44c", "#7fb2e5", "#c0392b", "#27824a"


def box(axes: Axes, x: float, y: float, width: float, height: float, **style: object) -> None:
    usual = {"facecolor": "#f4f4f6", "edgecolor": "#777777", "linewidth": 1.0}
    shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08",
                           **{**usual, **style})  # fmt: skip
    axes.add_patch(shape)


def arrow(axes: Axes, *points: tuple[float, float]) -> None:
    for start, end in itertools.pairwise(points):
        axes.plot(*zip(start, end, strict=True), color="#444444", linewidth=1.2)
    style = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", points[-1], points[-2], arrowprops=style)


def main() -> None:
    figure = Figure(figsize=(11, 4.6), dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 11), ylim=(0, 4.6))
    axes.axis("off")

    def text(x: float, y: float, words: str, size: float = 10, **style: object) -> None:
        axes.text(x, y, words, fontsize=size, **{"ha": "center", "va": "center", **style})

    stages = [
        (0.2, 1.0, "image", "and its padding"), (1.6, 1.3, "backbone", "strides 8 to 64"),
        (3.3, 1.4, "encoder × 6", "deformable attention"), (5.1, 1.3, "memory", "S tokens"),
    ]  # fmt: skip
    for x, width, name, note in stages:
        box(axes, x, 3.5, width, 0.75)
        text(x + width / 2, 3.97, name)
        text(x + width / 2, 3.7, note, 8)
    for (x, width, *_), (following, *_) in itertools.pairwise(stages):
        arrow(axes, (x + width, 3.87), (following, 3.87))
    box(axes, 2.6, 1.9, 2.2, 0.95)
    text(3.7, 2.6, "best N tokens")
    text(3.7, 2.33, "a score and a pose from each", 8)
    text(3.7, 2.1, "(two-stage selection)", 8)
    arrow(axes, (5.5, 3.5), (5.5, 3.2), (3.7, 3.2), (3.7, 2.85))
    arrow(axes, (3.7, 1.9), (3.7, 1.3), (5.1, 1.3))
    text(4.35, 1.45, "references", 8)
    arrow(axes, (6.4, 3.87), (8.0, 3.87), (8.0, 3.05))
    text(7.2, 4.03, "read by cross-attention", 8)

    box(axes, 5.1, 0.45, 5.7, 2.6, facecolor="white", edgecolor="#999999", linestyle="--")
    text(5.25, 2.85, "decoder × 6: N people, each of K + 1 queries", ha="left")
    for row in range(3):
        for column in range(4):
            colour = KEYPOINT if column else INSTANCE
            box(axes, 5.4 + 0.3 * column, 2.3 - 0.3 * row, 0.22, 0.22, facecolor=colour)
    ring = {"facecolor": "none", "linewidth": 2.0}
    box(axes, 5.33, 2.24, 1.26, 0.34, edgecolor=WITHIN, **ring)
    box(axes, 5.95, 1.62, 0.32, 1.0, edgecolor=ACROSS, **ring)
    text(5.5, 1.45, "instance", 8, color="#8a6d1f")
    text(6.15, 1.45, "keypoints", 8, color="#35618f")
    lines = [
        ("1  within a person: its K + 1 queries see one another", WITHIN),
        ("2  across people: the N queries of one type do", ACROSS),
        ("3  deformable attention around each keypoint,", "#222222"),
        ("    for the instance query around their mean", "#222222"),
        ("4  feed-forward network", "#222222"),
    ]
    for number, (line, colour) in enumerate(lines):
        text(6.85, 2.5 - 0.23 * number, line, 9, ha="left", color=colour)
    text(5.4, 1.0, "Keypoint queries move their keypoint, layer by layer.", 9, ha="left")
    text(5.4, 0.72, "The instance query scores the pose.", 9, ha="left")
    arrow(axes, (5.1, 0.72), (4.2, 0.72))
    text(2.5, 0.72, "N poses with scores, matched one to one", 9)
    text(2.5, 0.48, "in training; nothing is suppressed", 9)
    canvas.print_png(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
