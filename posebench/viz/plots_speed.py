"""Plots of time: the shares of stages, and stages against the number of people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from posebench.viz.colours import RGB

_COLUMNS = 3  # of panels
# Stage -> colour, the same in every figure; in the order of a pass. Networks are blue and green up
# to their features, warm where they find people.
STAGE_COLOURS = {
    "decode image": "#9a9a9a", "preprocess": "#c9c9c9", "transfer": "#555555",
    "network/compiled": "#2b4d7e", "network/backbone": "#1f77b4", "network/features": "#7fb6dd",
    "network/heatmaps": "#2ca02c", "network/boxes": "#98c95c", "network/heads": "#ff9f40",
    "network/keypoints": "#e8702a", "network/offsets": "#e7ba52", "network/IIA": "#9467bd",
    "network/GFD": "#d6456f", "network/graph": "#6b7b8c", "postprocess": "#8c564b",
}  # fmt: skip
_OTHERS = matplotlib.color_sequences["Dark2"]  # of alternatives, which are no stages
_LEAST_PERCENT = 1.0  # a stage below this share in every model has no entry in the legend

# Number of people -> milliseconds.
Curve = Mapping[int, float]


def stages_plot(
    stages: Mapping[str, Mapping[str, float]],
    totals: Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> RGB:
    """Return `stages_figure` as an image."""
    return _drawn(stages_figure(stages, totals, intervals))


def stages_figure(
    stages: Mapping[str, Mapping[str, float]],
    totals: Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Return a bar for each model with the shares of its stages, the fastest model first.

    Tiny models have a panel of their own, since their passes are hundreds of times shorter.

    Args:
        stages: model -> stage -> median milliseconds.
        totals: model -> median milliseconds of a whole pass, written beside its bar. Medians of
            stages do not add up to it exactly. None: the sums of the medians are written instead.
        intervals: model -> limits of the 95 % interval of its total, written behind it.

    Raises:
        ValueError: there is no model.
    """
    if not stages:
        raise ValueError("Expected the stages of at least one model, but found none.")
    totals = totals or {}
    labels = {
        name: _milliseconds(
            totals.get(name, sum(own.values())),
            (intervals or {}).get(name) if name in totals else None,
        )
        for name, own in stages.items()
    }
    ms = {name: totals.get(name, sum(own.values())) for name, own in stages.items()}
    names = sorted(stages, key=lambda name: ms[name])
    panels = {
        "tiny models": [name for name in names if _is_tiny(name)],
        "full models": [name for name in names if not _is_tiny(name)],
    }
    panels = {title: own for title, own in panels.items() if own}
    figure = Figure(
        figsize=(9, 1.3 + 0.3 * len(stages) + 0.4 * len(panels)), dpi=150, layout="constrained"
    )
    axes = figure.subplots(
        len(panels), 1, squeeze=False, sharex=True,
        height_ratios=[len(own) + 0.5 for own in panels.values()],
    )[:, 0]  # fmt: skip
    for axis, (title, own) in zip(axes, panels.items(), strict=True):
        _bars(axis, {name: stages[name] for name in own}, labels)
        if len(panels) > 1:
            axis.set_title(title, loc="left", fontsize=10)
    summed = "sum of the stages' medians" if not totals else "median of whole passes (p50)"
    if totals and intervals:
        summed += " and its 95 % interval"
    axes[-1].set_xlabel(f"share of the stages' median times, %; at the right: {summed}")
    shown = [
        stage
        for stage in _in_order(stages)
        if any(own.get(stage, 0) >= _LEAST_PERCENT / 100 * sum(own.values())
               for own in stages.values())
    ]  # fmt: skip
    handles = [Patch(color=_colour(stage, shown)) for stage in shown]
    columns = min(len(shown), 6)
    figure.legend(
        handles, shown, frameon=False, fontsize=8, loc="outside upper center", ncols=columns
    )
    return figure


def _milliseconds(value: float, limits: tuple[float, float] | None) -> str:
    def figure(ms: float) -> str:
        return f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}"

    text = f"{figure(value)} ms"
    return text if limits is None else f"{text} ({figure(limits[0])} to {figure(limits[1])})"


def _bars(axis: Any, stages: Mapping[str, Mapping[str, float]], labels: Mapping[str, str]) -> None:
    rows = np.arange(len(stages))
    sums = np.array([sum(own.values()) for own in stages.values()])
    left = np.zeros(len(stages))
    order = _in_order(stages)
    for stage in order:
        widths = 100 * np.array([own.get(stage, 0.0) for own in stages.values()]) / sums
        axis.barh(rows, widths, left=left, color=_colour(stage, order), height=0.7)
        left += widths
    axis.set_yticks(rows, list(stages), fontsize=9)
    axis.set_ylim(-0.6, len(stages) - 0.4)
    axis.invert_yaxis()
    for row, name in enumerate(stages):
        axis.text(101, row, labels[name], va="center", fontsize=8)
    axis.set_xlim(0, 100)
    _plain(axis)


def _is_tiny(name: str) -> bool:
    return "tiny" in name.split("_")


def _colour(stage: str, names: Iterable[str]) -> Any:
    """Return a stage's colour; `names` are what else the figure shows."""
    if stage in STAGE_COLOURS:
        return STAGE_COLOURS[stage]
    others = sorted(name for name in names if name not in STAGE_COLOURS)
    return _OTHERS[others.index(stage) % len(_OTHERS)]


def _in_order(stages: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the names of all models' stages in the order of a pass, unknown ones last."""
    known = list(STAGE_COLOURS)
    names = dict.fromkeys(stage for own in stages.values() for stage in own)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


def people_plot(models: Mapping[str, Mapping[str, Curve]], title: str = "") -> RGB:
    """Draw time against the number of people: one panel per model, one line per stage.

    Args:
        models: model -> stage -> curve.
        title: above the panels.

    Raises:
        ValueError: there is no model.

    Source: CID (Wang & Zhang, CVPR 2022), Fig. 5.
    """
    if not models:
        raise ValueError("Expected the stages of at least one model, but found none.")
    columns = min(_COLUMNS, len(models))
    rows = math.ceil(len(models) / columns)
    figure = Figure(figsize=(4.4 * columns, 3.3 * rows), dpi=150, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (name, stages) in zip(panels, models.items(), strict=False):
        _panel(axis, name, stages)
    for axis in panels[len(models) :]:
        axis.set_visible(False)
    return _drawn(figure)


def _panel(axis: Any, name: str, stages: Mapping[str, Curve]) -> None:
    for stage, curve in stages.items():
        people = sorted(curve)
        colour = _colour(stage, stages)
        axis.plot(people, [curve[p] for p in people], marker="o", ms=3.5, label=stage, color=colour)
    axis.set_title(name, fontsize=9)
    axis.set_xlabel("people")
    axis.set_ylabel("ms")
    axis.set_ylim(bottom=0)
    _plain(axis)
    axis.legend(frameon=False, fontsize=7)


def _plain(axis: Any) -> None:
    axis.grid(color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _drawn(figure: Figure) -> RGB:
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
