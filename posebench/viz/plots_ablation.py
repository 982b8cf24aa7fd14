"""The plot of a study: the AP of each variant next to the printed one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from posebench.viz.colours import RGB


def ablation_plot(title: str, rows: pd.DataFrame, summary: pd.DataFrame) -> RGB:
    """Draw a line for each variant: the AP of every seed, mean and deviation, and the printed AP.

    Measured and printed values have separate panels: since datasets and schedules differ, only the
    order of the variants can be compared.

    Args:
        title: above the plot.
        rows: tidy rows with variant, metric and value.
        summary: one row per variant from top to bottom, with variant, AP, std and printed.

    Returns:
        uint8 RGB.
    """
    has_printed = bool(summary["printed"].notna().any())
    width = 7.8 if has_printed else 4.4
    figure = Figure(figsize=(width, 1.3 + 0.32 * len(summary)), dpi=150, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if has_printed else 1, sharey=True, squeeze=False)[0]
    positions = np.arange(len(summary))
    measured = axes[0]
    if len(rows):
        of_seeds = rows[rows["metric"] == "AP"]
        own = of_seeds["variant"].map(dict(zip(summary["variant"], positions, strict=True)))
        measured.plot(of_seeds["value"], own, "o", color="0.6", markersize=4, zorder=2)
    measured.errorbar(
        summary["AP"], positions, xerr=summary["std"].fillna(0.0), fmt="o", color="tab:blue",
        capsize=3, zorder=3,
    )  # fmt: skip
    measured.set(title="measured here", xlabel="AP: mean, deviation, each seed")
    if has_printed:
        axes[1].plot(
            summary["printed"], positions, "o", color="tab:orange", markerfacecolor="white"
        )
        axes[1].set(title="printed", xlabel="in the paper")
    for axis in axes:
        axis.grid(color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
        axis.margins(x=0.12)
    measured.set_yticks(positions, summary["variant"])
    measured.invert_yaxis()  # the panels share their axis
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
