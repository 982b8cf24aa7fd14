"""The plot of a study: what was found of each variant, beside what the paper prints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from posebench.viz.draw import RGB


def ablation_plot(title: str, rows: pd.DataFrame, summary: pd.DataFrame) -> RGB:
    """Draw a line for each variant: every seed's AP, their mean and deviation, and the printed one.

    Measured and printed have panels of their own: their datasets and schedules differ, so that only
    the order of the variants is to be compared.

    Args:
        title: above the plot.
        rows: tidy, with variant, metric and value.
        summary: variant, AP, std and printed, in the order to draw them in, from above.

    Returns:
        uint8 RGB.
    """
    has_printed = bool(summary["printed"].notna().any())
    figure = Figure(
        figsize=(4.4 + 3.4 * has_printed, 1.3 + 0.32 * len(summary)), dpi=150, layout="constrained"
    )
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + has_printed, sharey=True, squeeze=False)[0]
    places = np.arange(len(summary))
    measured = axes[0]
    if len(rows):
        of_seeds = rows[rows["metric"] == "AP"]
        own = of_seeds["variant"].map(dict(zip(summary["variant"], places, strict=True)))
        measured.plot(of_seeds["value"], own, "o", color="0.6", markersize=4, zorder=2)
    measured.errorbar(
        summary["AP"], places, xerr=summary["std"].fillna(0.0), fmt="o", color="tab:blue",
        capsize=3, zorder=3,
    )  # fmt: skip
    measured.set(title="measured here", xlabel="AP: mean, deviation, each seed")
    if has_printed:
        axes[1].plot(summary["printed"], places, "o", color="tab:orange", markerfacecolor="white")
        axes[1].set(title="printed", xlabel="in the paper")
    for axis in axes:
        axis.grid(color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
        axis.margins(x=0.12)
    measured.set_yticks(places, summary["variant"])
    measured.invert_yaxis()  # shared: the first one is above in both
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
