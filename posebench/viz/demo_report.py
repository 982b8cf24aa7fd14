"""The demo's pictures and its page: every method on the same crowds, in one file.

The page needs no other files and no network: pictures are embedded.
"""

from __future__ import annotations

import base64
import html
import math
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from posebench.bench.demo import Crowd
from posebench.structures import COCO
from posebench.viz.draw import RGB, draw_annotations, draw_poses
from posebench.viz.figures import gallery

# Headers and formats of the table's columns, on the terminal and on the page.
COLUMNS = {
    "model": ("model", "{}"),
    "ap": ("AP", "{:.1f}"),
    "interval": ("95 % interval", "{}"),
    "letters": ("alike", "{}"),
    "ms": ("ms", "{:.0f}"),
    "fps": ("FPS", "{:.1f}"),
    "params_M": ("params M", "{:.2f}"),
    "gmacs": ("GMACs", "{:.2f}"),
    "peak_MB": ("MB", "{:.0f}"),
}
_TILE = 256  # pixels
_POINT, _BAR = "#1f5fa8", "#c9772b"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
  color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid #ddd; }
.wide { overflow-x: auto; } svg, img { max-width: 100%; height: auto; }
figure { margin: 1.5rem 0; } figcaption { color: #555; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem; text-align: right;
  border-bottom: 1px solid #e5e5e5; white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
"""


def cells(row: pd.Series) -> list[str]:
    """Return a model's row as text, in the order of `COLUMNS`."""
    interval = f"{row['ap_low']:.1f} to {row['ap_high']:.1f}"
    values = {**row.to_dict(), "interval": interval}
    return [style.format(values[name]) for name, (_, style) in COLUMNS.items()]


def crowd_picture(crowd: Crowd, thresholds: dict[str, float]) -> RGB:
    """Draw one crowd as annotated and as every model sees it, in two rows of tiles.

    Args:
        crowd: the image with the models' predictions.
        thresholds: recipe -> score below which people are not drawn.
    """
    sample = crowd.sample
    tiles = {"annotated": draw_annotations(sample.image, sample.poses, COCO)}
    for name, people in crowd.people.items():
        tiles[name] = draw_poses(sample.image, people, COCO, min_score=thresholds[name])
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
    left.set_yticks(places, rows["model"] + "  " + rows["letters"])
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel("AP, % (95 % interval)")
    left.grid(axis="x", alpha=0.3)
    right.barh(places, rows["ms"], color=_BAR, height=0.6)
    right.set_xlabel("ms per image")
    for place, ms in zip(places, rows["ms"], strict=True):
        right.annotate(
            f"{ms:.0f}", (ms, place), (4, 0), textcoords="offset points", va="center", fontsize=9
        )
    right.margins(x=0.12)
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def demo_page(rows: pd.DataFrame, crowds: list[RGB], notes: list[str]) -> str:
    """Return the page: the table, the plot, and the crowds.

    Args:
        rows: as in `Demo`.
        crowds: pictures of `crowd_picture`.
        notes: sentences below the table.
    """
    head = "".join(f"<th>{html.escape(title)}</th>" for title, _ in COLUMNS.values())
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(row)) + "</tr>"
        for _, row in rows.iterrows()
    )
    figures = "\n".join(
        '<figure><img alt="a crowd, annotated and as every model sees it" '
        f'src="{_embedded(crowd, "jpeg")}"></figure>'
        for crowd in crowds
    )
    plot = _embedded(comparison_picture(rows), "png")
    paragraphs = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>posebench: the models side by side</title>\n<style>{_STYLE}</style></head>\n"
        "<body>\n<h1>The models side by side</h1>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
        f'</div>\n{paragraphs}\n<figure><img alt="AP and milliseconds of every model" src="{plot}">'
        "</figure>\n"
        f"<h2>The same crowds, seen by every model</h2>\n{figures}\n</body></html>\n"
    )


def _embedded(picture: RGB, kind: str) -> str:
    """Return a picture as a data URL; `kind` is jpeg, or png for what has sharp lines."""
    _, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return f"data:image/{kind};base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
