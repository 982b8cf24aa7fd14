"""Plots of time show what they are given."""

from __future__ import annotations

import numpy as np
import pytest

from posebench.viz import people_plot, stages_plot
from posebench.viz.draw import RGB

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


def test_nothing_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="found none"):
        stages_plot({})
    with pytest.raises(ValueError, match="found none"):
        people_plot({})
