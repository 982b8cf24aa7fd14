"""Plots of the papers' tables and of the measurements, as SVG to be embedded in a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from posebench.bench.speed.options import PEOPLE
from posebench.bench.tables import MEASURED, JoinedTable, Runs
from posebench.viz.plots_speed import stages_figure

_NAME_PT = 7.0  # font size of the points' names


@dataclass(frozen=True)
class Plot:
    """A plot, or the command that produces its missing data."""

    title: str
    svg: str  # empty: there is no data
    caption: str  # what it shows, or the command that produces its data


def plots(tables: Sequence[JoinedTable], runs: Runs) -> list[Plot]:
    """Return all plots of a report."""
    return [
        speed_against_accuracy(tables),
        speed_against_people(runs),
        parameters_against_macs(tables),
        time_per_stage(runs),
    ]


def speed_against_accuracy(tables: Sequence[JoinedTable]) -> Plot:
    """Draw AP against frames per second: a panel per table that prints both, and one measured."""
    panels: list[tuple[str, list[tuple[float, float, str, bool]]]] = []
    measured: dict[str, tuple[float, float, str, bool]] = {}
    for joined in tables:
        rows = joined.rows
        if not {"FPS", "AP"} <= set(rows.columns):
            continue
        printed = [
            (float(row["FPS"]), float(row["AP"]), _label(row), row["ours"] == "true")
            for _, row in rows.iterrows()
            if row["FPS"] and row["AP"]
        ]
        if len(printed) > 4:  # fewer say little
            panels.append((f"printed: {joined.table.paper}, {joined.table.number}", printed))
        for _, row in rows.iterrows():
            if pd.notna(row["FPS" + MEASURED]):
                own = pd.notna(row["AP" + MEASURED])
                ap = row["AP" + MEASURED] if own else float(row["AP"])
                point = (float(row["FPS" + MEASURED]), float(ap), row["recipe"], bool(own))
                measured[row["recipe"]] = max(measured.get(row["recipe"], point), point, key=_own)
    caption = (
        "Each printed panel has its own hardware, which its table names; filled: the paper's own "
        "model."
    )
    if measured:
        panels.append(("measured here", list(measured.values())))
        caption += " Measured here, filled: with the AP measured here; hollow: with the printed AP."
    else:
        caption += (
            " Nothing has been timed on this machine yet: run `posebench speed --models all "
            "--protocol paper`."
        )
    if not panels:
        return Plot("Speed against accuracy", "", caption)
    figure, axes = _figure(len(panels))
    for axis, (title, points) in zip(axes, panels, strict=True):
        for x, y, _, filled in points:
            face = "tab:blue" if filled else "white"
            axis.scatter(x, y, s=36, edgecolor="tab:blue", facecolor=face)
        axis.set(title=title, xlabel="frames per second", ylabel="AP")
        axis.margins(x=0.2, y=0.08)
        axis.set_xlim(left=0)
    for axis, (_, points) in zip(axes, panels, strict=True):
        _name(axis, [(x, y, label) for x, y, label, _ in points])
    return Plot("Speed against accuracy", _svg(figure, "speed"), caption)


def _own(point: tuple[float, float, str, bool]) -> bool:
    return point[3]


def speed_against_people(runs: Runs) -> Plot:
    """Draw frames per second against the number of people, one line per recipe."""
    title = "FPS against people"
    times = runs.times()
    rows = times[times["metric"] == "fps"]
    if not rows.empty:
        rows = rows.assign(people=pd.to_numeric(rows["people"]))
        counts = rows.groupby("protocol")["people"].nunique()
        rows = rows[rows["protocol"] == counts.idxmax()]
    if rows.empty or rows["people"].nunique() < 2:
        command = "`posebench speed --models all --people 1,5,20,50`"
        return Plot(
            title, "", f"Nothing has been timed with several numbers of people: run {command}."
        )
    figure, [axis] = _figure(1)
    for recipe, own in rows.groupby("recipe"):
        line = own.groupby("people")["value"].last()
        axis.plot(line.index, line.to_numpy(), marker="o", ms=3.5, label=recipe)
    axis.set(xlabel="people on an image", ylabel="frames per second")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Plot(title, _svg(figure, "people"), _conditions(rows))


def parameters_against_macs(tables: Sequence[JoinedTable]) -> Plot:
    """Draw multiply-adds against parameters, printed (hollow) and counted (filled)."""
    figure, [axis] = _figure(1, width=7.5)
    seen = set()
    names = []
    for joined in tables:
        rows = joined.rows
        if not {"params_M", "GFLOPs"} <= set(rows.columns):
            continue
        for _, row in rows.iterrows():
            if not (row["params_M"] and row["GFLOPs"]):
                continue
            place = float(row["params_M"]), float(row["GFLOPs"])
            counted = row["params_M" + MEASURED], row["GFLOPs" + MEASURED]
            if (place, row["recipe"]) in seen:
                continue
            seen.add((place, row["recipe"]))
            axis.scatter(*place, s=36, edgecolor="tab:grey", facecolor="white", zorder=2)
            if pd.notna(counted[0]):
                axis.plot(*zip(place, counted, strict=True), color="0.7", linewidth=1, zorder=1)
                axis.scatter(*counted, s=36, color="tab:blue", zorder=3)
            names.append((*place, f"{_label(row)} ({joined.table.paper})"))
    caption = (
        "Hollow: printed, under the name of FLOPs; filled: counted here. `posebench verify` says "
        "why they differ. DGCN prints megabytes and no operations; PoseDet and Group Pose print "
        "neither."
    )
    if not seen:
        return Plot("Parameters against GMACs", "", caption)
    axis.set(xlabel="parameters, millions", ylabel="multiply-adds, G", xscale="log", yscale="log")
    axis.margins(x=0.2, y=0.1)
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(ScalarFormatter())
        scale.set_minor_formatter(ScalarFormatter())
    axis.tick_params(which="both", labelsize=8)
    _name(axis, names)
    return Plot("Parameters against GMACs", _svg(figure, "costs"), caption)


def time_per_stage(runs: Runs) -> Plot:
    """Draw the share of each stage, one bar per recipe, the fastest first."""
    title = "Time per stage"
    times = runs.times()
    rows = times[times["metric"].str.startswith("stage/")] if len(times) else times
    if rows.empty:
        return Plot(title, "", "No stage has been timed: run `posebench speed --models all`.")
    protocols = list(rows["protocol"].unique())
    protocol = "end-to-end" if "end-to-end" in protocols else protocols[-1]
    rows = rows[rows["protocol"] == protocol].assign(people=pd.to_numeric(rows["people"]))
    distance = (rows["people"] - PEOPLE).abs()
    rows = rows[distance == distance.min()]
    stages: dict[str, dict[str, float]] = {}
    for _, row in rows.iterrows():
        name = row["metric"].removeprefix("stage/").removesuffix("_p50")
        stages.setdefault(row["recipe"], {})[name] = float(row["value"])
    in_order = dict(sorted(stages.items(), key=lambda item: sum(item[1].values())))
    return Plot(title, _svg(stages_figure(in_order), "stages"), _conditions(rows))


def _conditions(rows: pd.DataFrame) -> str:
    row = rows.iloc[-1]
    words = (row["hardware"], row["precision"], row["options"], f"protocol {row['protocol']}")
    return f"{', '.join(filter(None, words))}."


def _label(row: pd.Series) -> str:
    backbone = str(row.get("backbone", ""))
    return f"{row['method']} {backbone}".strip()


def _name(axis: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Write names to the right of their points, higher if they would overlap another name.

    A name that would leave the figure is written to the left.
    """
    if axis.figure.get_layout_engine():  # positions of axes are not known before
        axis.figure.draw_without_rendering()
        axis.figure.set_layout_engine("none")
    taken: list[tuple[float, float, float]] = []  # left, right, bottom of a name, points
    for x, y, text in sorted(points, key=lambda point: point[1]):
        left, bottom = axis.transData.transform((x, y)) * 72 / axis.figure.dpi
        own, width = bottom - 2, 0.55 * _NAME_PT * len(text)
        beside = left + 5 + width > 72 * axis.figure.get_figwidth()
        left = left - 5 - width if beside else left + 5
        while any(
            left < other_right and other_left < left + width and abs(own - other) < _NAME_PT
            for other_left, other_right, other in taken
        ):
            own += 1
        taken.append((left, left + width, own))
        axis.annotate(
            text, (x, y), xytext=(-5 if beside else 5, own - bottom), fontsize=_NAME_PT,
            textcoords="offset points", ha="right" if beside else "left",
            arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.5, "shrinkB": 4}
            if own > bottom + _NAME_PT else None,
        )  # fmt: skip


def _figure(panels: int, width: float = 5.2) -> tuple[Figure, Any]:
    # Not pyplot, whose global state keeps figures in memory and may need a display.
    figure = Figure(figsize=(width * panels + 2.4, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis in axes:
        axis.grid(color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    """Return an <svg> element; `name` makes its ids unique within the page."""
    file = io.StringIO()
    # Without a date, so that equal data give equal files; text stays text, not outlines.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub("<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    return text[text.index("<svg") :]
