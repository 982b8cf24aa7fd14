"""Plots of time show what they are given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from posebench.viz import people_plot, stages_plot
from posebench.viz.colours import RGB
from posebench.viz.plots_speed import STAGE_COLOURS, stages_figure

STAGES = {"cid": {"network/backbone": 30.0, "postprocess": 2.0}, "posedet": {"postprocess": 9.0}}
CURVES = {"cid": {"GFD": {1: 2.0, 20: 30.0}, "IIA": {1: 1.0, 20: 1.0}}}


def colours(image: RGB) -> set[tuple[int, ...]]:
    """Return the saturated colours of which there is some area."""
    values, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    spread = values.max(1).astype(int) - values.min(1)
    return {tuple(v) for v, c, s in zip(values.tolist(), counts, spread, strict=True)
            if c > 40 and s > 60}  # fmt: skip


def test_every_stage_has_a_colour_and_every_model_a_bar() -> None:
    both, one = stages_plot(STAGES), stages_plot({"posedet": STAGES["posedet"]})
    assert len(colours(both)) == 2
    assert len(colours(one)) == 1
    assert both.shape[0] > one.shape[0]


def test_every_stage_is_a_line_of_its_models_panel() -> None:
    one = people_plot(CURVES, "Fig. 5a")
    assert len(colours(one)) == 2
    two = people_plot({**CURVES, "other": {"heads": {1: 5.0}}})
    assert two.shape[1] > one.shape[1]


def bars(stages: dict[str, dict[str, float]], **options: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield each panel's title with its models from top to bottom, and the times beside them."""
    for axis in stages_figure(stages, **options).axes:
        yield axis.get_title("left"), [label.get_text() for label in axis.get_yticklabels()]
        yield "ms", [text.get_text() for text in axis.texts]


def test_models_are_sorted_by_time_and_tiny_ones_stand_apart() -> None:
    stages = {"cid_w32": {"a": 900.0}, "cid_tiny": {"a": 50.0}, "dgcn_tiny": {"a": 20.0}}
    assert list(bars(stages)) == [
        ("tiny models", ["dgcn_tiny", "cid_tiny"]),
        ("ms", ["20 ms", "50 ms"]),
        ("full models", ["cid_w32"]),
        ("ms", ["900 ms"]),
    ]


def test_the_time_beside_a_bar_is_that_of_whole_passes_if_known() -> None:
    stages = STAGES
    shown = dict(bars(stages, totals={"cid": 33.25, "posedet": 40.0}))
    assert shown == {"": ["cid", "posedet"], "ms": ["33.2 ms", "40 ms"]}
    label = stages_figure(stages).axes[-1].get_xlabel()
    assert "sum of the stages' medians" in label
    assert "p50" in stages_figure(stages, {"cid": 33.0}).axes[-1].get_xlabel()


def test_a_stage_has_one_colour_in_every_figure() -> None:
    alone = colours(stages_plot({"posedet": {"postprocess": 9.0}}))
    assert len(alone) == 1 and alone < colours(stages_plot(STAGES))
    drawn = stages_figure({"other": {"network/heads": 1.0, "postprocess": 9.0}}).axes[0].patches
    assert [patch.get_facecolor() for patch in drawn] == [
        to_rgba(STAGE_COLOURS[stage]) for stage in ("network/heads", "postprocess")
    ]
    assert len(set(STAGE_COLOURS.values())) == len(STAGE_COLOURS)


def test_a_stage_without_a_share_has_no_entry_in_the_legend() -> None:
    [legend] = stages_figure({"cid": {"transfer": 0.001, "postprocess": 5.0}}).legends
    assert [text.get_text() for text in legend.get_texts()] == ["postprocess"]


def test_nothing_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="found none"):
        stages_plot({})
    with pytest.raises(ValueError, match="found none"):
        people_plot({})
