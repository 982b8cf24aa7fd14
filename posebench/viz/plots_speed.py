"""Plots of time: the shares of stages, and stages against the number of people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from posebench.viz.draw import RGB

_COLUMNS = 3  # of panels
_COLOURS = (*matplotlib.color_sequences["tab20"][::2], *matplotlib.color_sequences["tab20"][1::2])

# Number of people -> milliseconds.
Curve = Mapping[int, float]


def stages_plot(stages: Mapping[str, Mapping[str, float]]) -> RGB:
    """Return `stages_figure` as an image."""
    return _drawn(stages_figure(stages))


def stages_figure(stages: Mapping[str, Mapping[str, float]]) -> Figure:
    """Return a bar for each model with the shares of its stages, labelled with the total time.

    Args:
        stages: model -> stage -> milliseconds; stages of the same name have the same colour.

    Raises:
        ValueError: there is no model.
    """
    if not stages:
        raise ValueError("Expected the stages of at least one model, but found none.")
    names = _in_order(stages)
    totals = np.array([sum(own.values()) for own in stages.values()])
    figure = Figure(figsize=(9, 1.4 + 0.36 * len(stages)), dpi=150, layout="constrained")
    axis = figure.subplots()
    rows = np.arange(len(stages))
    left = np.zeros(len(stages))
    for number, stage in enumerate(names):
        widths = 100 * np.array([own.get(stage, 0.0) for own in stages.values()]) / totals
        colour = _COLOURS[number % len(_COLOURS)]
        axis.barh(rows, widths, left=left, label=stage, color=colour, height=0.7)
        left += widths
    axis.set_yticks(rows, list(stages))
    axis.set_ylim(-0.6, len(stages) - 0.4)
    axis.invert_yaxis()
    for row, total in enumerate(totals.tolist()):
        axis.text(
            101,
            row,
            f"{total:.3g} ms" if total < 1000 else f"{total:.0f} ms",
            va="center",
            fontsize=8,
        )
    axis.set_xlim(0, 100)
    axis.set_xlabel("% of a pass")
    _plain(axis)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return figure


def _in_order(stages: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the names of all models' stages, ordered by their mean position in a pass."""
    places: dict[str, list[float]] = {}
    for own in stages.values():
        for place, stage in enumerate(own):
            places.setdefault(stage, []).append(place / max(len(own) - 1, 1))
    return sorted(places, key=lambda stage: sum(places[stage]) / len(places[stage]))


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
    for number, (stage, curve) in enumerate(stages.items()):
        people = sorted(curve)
        colour = _COLOURS[number % len(_COLOURS)]
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
