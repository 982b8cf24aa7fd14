"""Pictures of a run: its curves, whatever metrics its dataset is evaluated by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from posebench.viz import draw_curve
from posebench.viz import samples as module

AP = {"AP": 0.25, "AP50": 0.5, "AP75": 0.2, "AR": 0.3, "APM": -1.0, "AP/nose": 0.4}
PCKH = {"PCKh@0.5 (matched)": 0.25, "PCKh@0.5 (matched)/head": 0.5}
NOTHING_TO_FIND = {"PCKh@0.5": -1.0, "PCKh@0.5/head": -1.0}


def log(*metrics: dict[str, float]) -> list[dict[str, Any]]:
    """Return the log of a run with four steps and an evaluation for each of the metrics."""
    steps = [
        {"step": i, "epoch": 0, "lr": 0.1, "loss": 3.0, "tag": 1.0, "images_per_second": 9.0}
        for i in range(1, 5)
    ]
    return [*steps, *({"step": 4 + i, "metrics": m} for i, m in enumerate(metrics))]


@pytest.mark.parametrize("metrics", [AP, PCKH, NOTHING_TO_FIND], ids=lambda m: next(iter(m)))
def test_a_run_is_drawn_with_the_metrics_it_was_scored_by(metrics: dict[str, float]) -> None:
    alone, both = draw_curve(log()), draw_curve(log(metrics, metrics))
    assert both.dtype == np.uint8
    assert both.shape[0] > alone.shape[0]  # a second panel


@pytest.mark.parametrize(
    ("metrics", "curves"),
    [
        (AP, {"AP": [25.0, 50.0], "AP50": [50.0, 50.0], "AP75": [20.0, 20.0]}),
        (PCKH, {"PCKh@0.5 (matched)": [25.0, 50.0]}),
    ],
    ids=["AP", "PCKh"],
)
def test_the_main_metric_is_drawn_in_percent(
    metrics: dict[str, float], curves: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}
    monkeypatch.setattr(module, "training_curve", lambda losses, m, time: drawn.update(m))
    main = next(iter(metrics))
    draw_curve(log(metrics, {**metrics, main: 0.5}))
    assert {name: [value for _, value in curve] for name, curve in drawn.items()} == curves
    assert {step for curve in drawn.values() for step, _ in curve} == {4, 5}
