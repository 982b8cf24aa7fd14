"""The demo's pictures and its page: every method on the same crowds, in one file.

The page needs no other files and no network: pictures are embedded.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from posebench.bench.demo import Crowd
from posebench.skeleton import COCO
from posebench.viz.colours import RGB
from posebench.viz.draw import draw_annotations, draw_poses
from posebench.viz.figures import gallery
from posebench.viz.pages import Column, page, sortable_table

# The table's columns, on the terminal and on the page.
COLUMNS = (
    Column("model"),
    Column("AP", numeric=True, best_first="high"),
    Column("95 %", numeric=True, best_first="high"),
    Column("alike"),
    Column("ms", numeric=True),
    Column("FPS", numeric=True, best_first="high"),
    Column("M par.", numeric=True),
    Column("GMACs", numeric=True),
    Column("MB", numeric=True),
)
_TILE = 256  # pixels
_POINT, _BAR = "#1f5fa8", "#c9772b"


def cells(row: pd.Series) -> list[str]:
    """Return a model's row of `Demo.rows` as text, in the order of `COLUMNS`."""
    return [
        row["model"],
        f"{row['ap']:.1f}",
        f"{row['ap_low']:.1f}–{row['ap_high']:.1f}",
        row["letters"],
        f"{row['ms']:.0f}",
        f"{row['fps']:.1f}",
        f"{row['params_M']:.2f}",
        f"{row['gmacs']:.2f}",
        f"{row['peak_MB']:.0f}",
    ]


def crowd_picture(crowd: Crowd) -> RGB:
    """Draw one crowd as annotated and as every model sees it, in two rows of tiles.

    People below their method's own drawing threshold are left out.
    """
    sample = crowd.sample
    tiles = {"annotated": draw_annotations(sample.image, sample.poses, COCO)}
    for name, people in crowd.people.items():
        least = people.draw_score or 0.0
        tiles[name] = draw_poses(sample.image, people, COCO, min_score=least)
    columns = math.ceil(len(tiles) / 2)
    return gallery(list(tiles.values()), list(tiles), columns, (_TILE, _TILE))


def comparison_picture(rows: pd.DataFrame) -> RGB:
    """Plot the models' AP with 95 % intervals beside their milliseconds per image.

    Args:
        rows: as in `Demo`.
    """
    figure = Figure(figsize=(9, 0.9 + 0.42 * len(rows)), dpi=150, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    places = range(len(rows))
    reach = [rows["ap"] - rows["ap_low"], rows["ap_high"] - rows["ap"]]
    left.errorbar(rows["ap"], places, xerr=reach, fmt="o", color=_POINT, capsize=3)
    left.set_yticks(places, rows["model"])
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel("AP, % (95 % interval; alike where a letter is shared)")
    left.grid(axis="x", alpha=0.3)
    right.barh(places, rows["ms"], color=_BAR, height=0.6)
    right.set_xlabel("ms per image")
    right.tick_params(axis="y", left=False)
    for place, (ms, high, letters) in enumerate(
        zip(rows["ms"], rows["ap_high"], rows["letters"], strict=True)
    ):
        beside = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
        left.annotate(letters, (high, place), **beside)
        right.annotate(f"{ms:.0f}", (ms, place), **beside)
    right.set_xlim(0, 1.3 * rows["ms"].max())  # leaves room for the figures
    left.margins(x=0.12)
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def demo_page(rows: pd.DataFrame, plot: RGB, crowds: Sequence[RGB], notes: Sequence[str]) -> str:
    """Return the page: the table, the plot, and the crowds.

    Args:
        rows: as in `Demo`.
        plot: the picture of `comparison_picture`.
        crowds: pictures of `crowd_picture`.
        notes: sentences below the table.
    """
    body = [
        sortable_table(COLUMNS, [cells(row) for _, row in rows.iterrows()]),
        f'<ul class="notes">{"".join(f"<li>{html.escape(note)}</li>" for note in notes)}</ul>',
        '<figure><img class="plot" alt="AP and milliseconds of every model" '
        f'src="{_embedded(plot, "png")}"></figure>',
        "<h2>The same crowds, seen by every model</h2>",
        *(
            f'<figure><img alt="crowd {number}, annotated and as every model sees it" '
            f'src="{_embedded(crowd, "jpeg")}"></figure>'
            for number, crowd in enumerate(crowds, start=1)
        ),
    ]
    return page("The models side by side", body)


def _embedded(picture: RGB, kind: str) -> str:
    """Return a picture as a data URL; `kind` is jpeg, or png for what has sharp lines."""
    _, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return f"data:image/{kind};base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
