"""Names in plots cover neither each other nor points, on the shipped tables and on crowds."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from posebench.bench.tables import Runs, join, load_table, table_names
from posebench.models import RECIPES
from posebench.viz import plots as module
from posebench.viz.labels import label_points
from tests.bench.tables.runs import write_times


def names(axis: Any) -> dict[str, Bbox]:
    """Return the extent of each name; a name that stands twice is counted."""
    axis.figure.draw_without_rendering()  # moves annotations to their places
    texts = [text for text in axis.texts if text.get_text()]
    return {f"{i} {text.get_text()}": Text.get_window_extent(text) for i, text in enumerate(texts)}


def points(axis: Any) -> list[Bbox]:
    radius = 3 * axis.figure.dpi / 72  # an area of 36 square points
    centres = np.concatenate(
        [axis.transData.transform(one.get_offsets()) for one in axis.collections]
    )
    return [Bbox([centre - radius, centre + radius]) for centre in centres]


def assert_readable(axis: Any) -> None:
    found = names(axis)
    for (one, box), (two, other) in combinations(found.items(), 2):
        assert not box.overlaps(other), f"{one} covers {two}"
    for name, box in found.items():
        assert not any(box.overlaps(point) for point in points(axis)), f"{name} covers a point"
        whole = axis.get_window_extent()
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, f"{name} leaves its axes"
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, f"{name} leaves its axes"


@pytest.mark.parametrize("timed", [False, True])
def test_names_in_the_reports_plots(
    timed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Counted like this, each point lies a little below the printed one, which crowds the most.
    monkeypatch.setattr(
        "posebench.bench.tables.joined.describe", lambda recipe: {"params_M": 28.5, "gmacs": 45.0}
    )
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(
        module, "_svg", lambda figure, name: figures.setdefault(name, figure) and ""
    )
    if timed:
        rows = [
            {"recipe": name, "metric": "fps", "value": 1 + 0.1 * (i % 7)}
            for i, name in enumerate(RECIPES)
        ]
        write_times(tmp_path / "speed", [dict(row) for row in rows])
    runs = Runs(tmp_path)
    tables = [join(load_table(name), runs) for name in table_names()]
    module.speed_against_accuracy(tables)
    module.parameters_against_macs(tables)
    panels = figures["speed"].axes + figures["costs"].axes
    visible = [axis for axis in panels if axis.get_visible()]
    assert len(visible) == 3 + timed
    for axis in visible:
        assert names(axis)
        assert_readable(axis)
    shown = " ".join(names(figures["costs"].axes[0]))
    assert "Hourglass, 512 (HigherHRNet)" in shown and "Hourglass Hourglass" not in shown


def crowd(count: int) -> Any:
    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    places = np.random.default_rng(3).normal(size=(count, 2)).tolist()
    x, y = zip(*places, strict=True)
    axis.scatter(x, y, s=36)
    axis.margins(0.2)
    label_points(axis, [(x, y, f"network {i}") for i, (x, y) in enumerate(places)])
    return axis


def test_a_crowd_of_points_is_named_readably_and_always_alike() -> None:
    axis = crowd(24)
    assert len(names(axis)) == 24
    assert_readable(axis)
    again = {name: box.bounds for name, box in names(crowd(24)).items()}
    assert again == {name: box.bounds for name, box in names(axis).items()}


def test_equal_points_with_equal_names_are_named_once() -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.scatter([1, 1, 1], [2, 2, 2], s=36)
    label_points(axis, [(1, 2, "one"), (1, 2, "one"), (1, 2, "two")])
    assert sorted(name[2:] for name in names(axis)) == ["one", "two"]
    assert_readable(axis)


def test_a_name_far_from_its_point_has_a_line_to_it() -> None:
    lines = [text for text in crowd(24).texts if not text.get_text()]
    assert lines
    assert all(line.arrow_patch is not None for line in lines)
    assert not [text for text in crowd(1).texts if not text.get_text()]
