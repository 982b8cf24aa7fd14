"""Pictures of a model's predictions, and of a run's curves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from posebench.engine import Model
from posebench.metrics import main_at_thresholds
from posebench.structures import Heatmaps, Poses, Sample
from posebench.viz.draw import RGB, draw_annotations, draw_poses
from posebench.viz.figures import (
    gallery,
    heatmap_overlay,
    instance_figure,
    steps_figure,
    training_curve,
)

_NOT_TERMS = ("step", "epoch", "lr", "loss", "images_per_second")
_SMOOTHED = 20  # steps
MOST_TRACED = 4  # people of one image; each costs a backward pass


def draw_sample(
    model: Model,
    sample: Sample,
    *,
    truth: Poses | None = None,
    heatmaps: bool = False,
    min_score: float = 0.0,
) -> RGB:
    """Draw the people that a model predicts on an image.

    Args:
        truth: the annotated people, drawn on a second copy of the image; None leaves that copy out.
        heatmaps: also show the maps of the whole image and, below, of each person.
        min_score: people with a lower score are left out.

    Source: CID (Wang & Zhang, CVPR 2022), Figs. 3, 4 and 6.
    """
    maps: Heatmaps | None = None
    if heatmaps:
        predictions, maps = model.explain(sample.image)
    else:
        predictions = model.predict(sample.image)
    keep = predictions.scores >= min_score
    predictions = predictions[keep]
    tiles = [("predicted", draw_poses(sample.image, predictions, model.skeleton))]
    if truth is not None:
        tiles.append(("annotated", draw_annotations(sample.image, truth, model.skeleton)))
    if maps:
        tiles += [
            (name, heatmap_overlay(sample.image, scene, maps.to_image, maps.stride))
            for name, scene in maps.scene.items()
        ]
    if len(tiles) == 1:
        return tiles[0][1]
    width, height = sample.size
    row = gallery(
        [image for _, image in tiles], [title for title, _ in tiles], len(tiles), (width, height)
    )
    if not maps:
        return row
    people = instance_figure(
        sample.image, maps.people[keep], predictions, model.skeleton, maps.to_image, maps.stride
    )
    height = round(people.shape[0] * row.shape[1] / people.shape[1])
    below = cv2.resize(people, (row.shape[1], height), interpolation=cv2.INTER_AREA)
    return np.vstack([row, below])


def draw_steps(model: Model, sample: Sample, *, min_score: float = 0.0) -> RGB:
    """Draw the path of each keypoint query of the best people, and what drives their scores.

    Raises:
        ModelError: the method predicts people in one step.
    """
    predictions, trace = model.trace(sample.image, limit=MOST_TRACED)
    count = int((predictions.scores[:MOST_TRACED] >= min_score).sum())
    shown = replace(trace, steps=trace.steps[:count], reliance=trace.reliance[:count])
    return steps_figure(sample.image, predictions, shown, model.skeleton)


def draw_gallery(model: Model, samples: list[Sample]) -> RGB:
    """Draw annotated samples, each with its predicted people next to its annotated ones."""
    tiles, captions = [], []
    for sample in samples:
        predictions = model.predict(sample.image)
        tiles += [
            draw_poses(sample.image, predictions, model.skeleton, min_score=0.1),
            draw_annotations(sample.image, sample.poses, model.skeleton),
        ]
        captions += ["predicted", "annotated"]
    return gallery(tiles, captions, 6, samples[0].size)


def draw_curve(log: list[dict[str, Any]]) -> RGB:
    """Draw a run's loss terms (means of twenty steps) and its main metric over the steps."""
    steps = [entry for entry in log if "loss" in entry]
    names = [name for name in steps[0] if name not in _NOT_TERMS]
    losses = {
        name: [
            (chunk[-1]["step"], sum(entry[name] for entry in chunk) / len(chunk))
            for chunk in (steps[i : i + _SMOOTHED] for i in range(0, len(steps), _SMOOTHED))
        ]
        for name in names
    }
    evaluated = [entry for entry in log if "metrics" in entry]
    shown = main_at_thresholds(evaluated[0]["metrics"]) if evaluated else []
    metrics = {
        name: [(entry["step"], _percent(entry["metrics"][name])) for entry in evaluated]
        for name in shown
    }
    return training_curve(losses, metrics, time="step")


def _percent(value: float) -> float:
    return 100 * value if value >= 0 else math.nan  # -1: there was no ground truth to detect
