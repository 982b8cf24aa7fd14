"""Plots of the papers' tables and of the measurements, as SVG to be embedded in a page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from posebench.bench.speed.options import PEOPLE
from posebench.bench.tables import LIMITS, MEASURED, JoinedTable, Runs
from posebench.viz.labels import label_points
from posebench.viz.plots_speed import stages_figure

_AREA_PT2 = 36  # of a point's marker
_FAR_PT = 30  # a counted point this far from the printed one has a name of its own
_TICKS = (1, 2, 3, 5)  # times powers of ten
_MEASURED_PANEL = "measured here"
_PANEL_ROW = 2  # panels beside each other; more would make their names small


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
    intervals: dict[str, tuple[float, float]] = {}
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
            panels.append((f"printed: {joined.table.paper_title}, {joined.table.number}", printed))
        for _, row in rows.iterrows():
            if pd.notna(row["FPS" + MEASURED]):
                own = pd.notna(row["AP" + MEASURED])
                ap = row["AP" + MEASURED] if own else float(row["AP"])
                point = (float(row["FPS" + MEASURED]), float(ap), row["recipe"], bool(own))
                measured[row["recipe"]] = max(measured.get(row["recipe"], point), point, key=_own)
                low, high = (row.get(f"AP{suffix}") for suffix in LIMITS)
                if own and pd.notna(low) and pd.notna(high):
                    intervals[row["recipe"]] = float(low), float(high)
    caption = (
        "Each printed panel has its own hardware, which its table names; filled: the paper's own "
        "model."
    )
    if measured:
        panels.append((_MEASURED_PANEL, list(measured.values())))
        caption += " Measured here, filled: with the AP measured here; hollow: with the printed AP."
        if intervals:
            caption += " Bars: 95 % intervals over images."
    else:
        caption += (
            " Nothing has been timed on this machine yet: run `posebench speed --models all "
            "--protocol paper`."
        )
    if not panels:
        return Plot("Speed against accuracy", "", caption)
    figure, axes = _figure(len(panels))
    for axis, (title, points) in zip(axes, panels, strict=True):
        for x, y, name, filled in points:
            if title == _MEASURED_PANEL and filled and name in intervals:
                axis.plot((x, x), intervals[name], color="tab:blue", linewidth=1, zorder=0)
            face = "tab:blue" if filled else "white"
            axis.scatter(x, y, s=_AREA_PT2, edgecolor="tab:blue", facecolor=face)
        axis.set(title=title, xlabel="frames per second", ylabel="AP, %")
        axis.margins(x=0.2, y=0.1)
        axis.set_xlim(left=0)
    for axis, (_, points) in zip(axes, panels, strict=True):
        label_points(axis, [(x, y, label) for x, y, label, _ in points])
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
        newest = own.drop_duplicates("people", keep="last").sort_values("people")
        value = newest["value"].to_numpy()
        # Where there is no interval, NaN draws none.
        reach = [value - newest["low"].to_numpy(), newest["high"].to_numpy() - value]
        axis.errorbar(
            newest["people"], value, yerr=reach, marker="o", ms=3.5, capsize=2, label=recipe
        )
    axis.set(xlabel="people on an image", ylabel="frames per second")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Plot(title, _svg(figure, "people"), _conditions(rows))


def parameters_against_macs(tables: Sequence[JoinedTable]) -> Plot:
    """Draw multiply-adds against parameters, printed (hollow) and counted (filled)."""
    figure, [axis] = _figure(1, width=8.5, height=5.4)
    printed: dict[tuple[float, float, str], str] = {}  # place and name -> paper
    counted: dict[tuple[float, float, str], tuple[float, float]] = {}
    for joined in tables:
        rows = joined.rows
        if not {"params_M", "GFLOPs"} <= set(rows.columns):
            continue
        for _, row in rows.iterrows():
            if not (row["params_M"] and row["GFLOPs"]):
                continue
            name = ", ".join(filter(None, (_label(row), row["input_size"])))
            point = (float(row["params_M"]), float(row["GFLOPs"]), name)
            printed.setdefault(point, joined.table.paper_title)
            if pd.notna(row["params_M" + MEASURED]):
                here = row["params_M" + MEASURED], row["GFLOPs" + MEASURED]
                counted[point] = (float(here[0]), float(here[1]))
    caption = (
        "Hollow: printed, under the name of FLOPs; filled: counted here. `posebench verify` says "
        "why they differ. In brackets: the paper that prints it. DGCN prints megabytes and no "
        "operations; PoseDet and Group Pose print neither."
    )
    if not printed:
        return Plot("Parameters against GMACs", "", caption)
    for x, y, _ in printed:
        axis.scatter(x, y, s=_AREA_PT2, edgecolor="tab:grey", facecolor="white", zorder=2)
    for (x, y, _), here in counted.items():
        axis.plot((x, here[0]), (y, here[1]), color="0.7", linewidth=1, zorder=1)
        axis.scatter(*here, s=_AREA_PT2, color="tab:blue", zorder=3)
    axis.set(xlabel="parameters, millions", ylabel="multiply-adds, G", xscale="log", yscale="log")
    axis.margins(x=0.2, y=0.1)
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(LogLocator(subs=_TICKS))
        scale.set_major_formatter(ScalarFormatter())
        scale.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=8)
    figure.draw_without_rendering()  # fixes the limits, hence distances on paper
    names = [(x, y, f"{name} ({paper})") for (x, y, name), paper in printed.items()]
    for (x, y, name), here in counted.items():
        apart = axis.transData.transform((x, y)) - axis.transData.transform(here)
        if math.hypot(*apart) * 72 / figure.dpi > _FAR_PT:
            names.append((*here, name))
    label_points(
        axis,
        names,
        others=list(counted.values()),
        lines=[(x, y, *here) for (x, y, _), here in counted.items()],
    )
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
    passes = times[
        (times["metric"] == "latency_p50")
        & (times["protocol"] == protocol)
        & pd.to_numeric(times["people"]).isin(rows["people"].unique())
    ]
    totals = {str(row["recipe"]): float(row["value"]) for _, row in passes.iterrows()}
    known = totals if set(stages) <= set(totals) else None
    intervals = {
        str(row["recipe"]): (float(row["low"]), float(row["high"]))
        for _, row in passes.iterrows()
        if pd.notna(row["low"]) and pd.notna(row["high"])
    }
    return Plot(title, _svg(stages_figure(stages, known, intervals), "stages"), _conditions(rows))


def _conditions(rows: pd.DataFrame) -> str:
    row = rows.iloc[-1]
    words = (row["hardware"], row["precision"], row["options"], f"protocol {row['protocol']}")
    return f"{', '.join(filter(None, words))}."


def _label(row: pd.Series) -> str:
    """Return method and backbone; a backbone that is the method says it all."""
    method, backbone = str(row["method"]), str(row.get("backbone", ""))
    return backbone if backbone.startswith(method) else f"{method} {backbone}".strip()


def _figure(panels: int, width: float = 5.6, height: float = 4.2) -> tuple[Figure, Any]:
    """Return a figure with panels, two in a row; sizes are of a panel, inches."""
    columns = min(panels, _PANEL_ROW)
    rows = math.ceil(panels / columns)
    # Not pyplot, whose global state keeps figures in memory and may need a display.
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.grid(color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes[:panels]


def _svg(figure: Figure, name: str) -> str:
    """Return an <svg> element; `name` makes its ids unique within the page."""
    file = io.StringIO()
    # Without a date, so that equal data give equal files; text stays text, not outlines.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub("<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    return text[text.index("<svg") :]
