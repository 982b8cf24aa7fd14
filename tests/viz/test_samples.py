"""Pictures of a run: its curves, whatever metrics its dataset is evaluated by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from posebench.engine import Model
from posebench.skeleton import COCO
from posebench.structures import Heatmaps, PosePredictions, Sample, Trace
from posebench.viz import draw_curve, draw_gallery, draw_poses, draw_sample, draw_steps, gallery
from posebench.viz import samples as module
from tests.builders import make_poses

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


class Seer:
    """Stands for a model of a method whose people are drawn from 0.3 on."""

    def __init__(self, *scores: float) -> None:
        generator = np.random.default_rng(0)
        keypoints = torch.from_numpy(generator.uniform(20, 100, (len(scores), len(COCO), 2)))
        self.people = PosePredictions(
            keypoints, torch.ones(len(scores), len(COCO)), torch.tensor(scores)
        )
        self.skeleton = COCO
        self.draw_score = 0.3

    def predict(self, image: Any) -> PosePredictions:
        return self.people

    def explain(self, image: Any) -> tuple[PosePredictions, Heatmaps]:
        maps = torch.zeros(len(self.people), len(COCO), 30, 30)
        scene = {"centre": torch.full((30, 30), 0.02)}
        return self.people, Heatmaps(scene, maps, 4, torch.eye(2, 3, dtype=torch.float64))

    def trace(self, image: Any, *, limit: int) -> tuple[PosePredictions, Trace]:
        steps = self.people.keypoints[:, None].expand(-1, 3, -1, -1)
        reliance = torch.zeros(min(limit, len(self.people)), 120, 120)
        return self.people, Trace(steps, reliance, torch.eye(2, 3, dtype=torch.float64))


def seer(*scores: float) -> Model:
    return cast(Model, Seer(*scores))


SAMPLE = Sample(np.full((120, 120, 3), 90, np.uint8))


def test_people_are_drawn_from_the_score_of_the_method_on() -> None:
    model = seer(0.9, 0.31, 0.29)
    drawing = draw_sample(model, SAMPLE)
    assert (drawing.people, drawing.min_score) == (2, 0.3)
    assert drawing.best_score == pytest.approx(0.9)
    expected = draw_poses(SAMPLE.image, model.predict(SAMPLE.image)[:2], COCO)
    assert (drawing.image == expected).all()
    assert draw_sample(model, SAMPLE, min_score=0.2).people == 3


def test_a_picture_without_people_knows_the_best_score() -> None:
    drawing = draw_sample(seer(0.25, 0.1), SAMPLE)
    assert (drawing.people, drawing.best_score) == (0, 0.25)
    assert (drawing.image == SAMPLE.image).all()
    assert draw_sample(seer(), SAMPLE).best_score is None


@pytest.mark.parametrize(
    ("scores", "captions"),
    [
        ((0.9,), ["predicted", "centre: almost empty, highest 0.02"]),
        ((0.25,), ["nobody: best score 0.25, below 0.3", "centre: almost empty, highest 0.02"]),
        ((), ["no people found", "centre: almost empty, highest 0.02"]),
    ],
)
def test_captions_beside_heatmaps_say_why_they_are_empty(
    scores: tuple[float, ...], captions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def recorded(images: Any, titles: Any, *args: Any, **options: Any) -> Any:
        written.extend(titles)
        return gallery(images, titles, *args, **options)

    monkeypatch.setattr(module, "gallery", recorded)
    page = draw_sample(seer(*scores), SAMPLE, heatmaps=True).image
    assert written == captions
    # The maps of single people are below.
    assert (page.shape[0] > 500) == bool(scores and scores[0] > 0.3)


def test_a_legend_is_below_what_is_drawn() -> None:
    model = seer(0.9)
    for options in ({}, {"heatmaps": True}, {"truth": make_poses(1)}):
        plain = draw_sample(model, SAMPLE, **options).image
        explained = draw_sample(model, SAMPLE, **options, legend=True).image
        height, width = plain.shape[:2]
        left = (explained.shape[1] - width) // 2
        assert explained.shape[0] > height
        assert (explained[:height, left : left + width] == plain).all()
    assert (
        draw_steps(model, SAMPLE, legend=True).image.shape[0]
        > draw_steps(model, SAMPLE).image.shape[0]
    )


def test_steps_are_drawn_of_people_above_the_score() -> None:
    drawing = draw_steps(seer(0.9, 0.4, 0.2), SAMPLE)
    assert drawing.people == 2
    assert drawing.best_score == pytest.approx(0.9)
    assert draw_steps(seer(0.2), SAMPLE).people == 0


def test_a_gallery_leaves_out_people_below_the_score_of_the_method() -> None:
    sample = replace(SAMPLE, poses=make_poses(1))
    alone, hidden = (draw_gallery(seer(*scores), [sample]) for scores in ((0.9,), (0.9, 0.29)))
    assert (alone == hidden).all()
    everybody = draw_gallery(seer(0.9, 0.29), [sample], min_score=0.1)
    assert (everybody != hidden).any()
