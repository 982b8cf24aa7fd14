"""Pictures of a model's predictions, and of a run's curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from posebench.engine import Predicting
from posebench.metrics import main_at_thresholds
from posebench.structures import Heatmaps, PosePredictions, Poses, Sample
from posebench.viz.colours import RGB
from posebench.viz.draw import draw_annotations, draw_poses
from posebench.viz.figures import (
    gallery,
    heat_caption,
    heatmap_overlay,
    instance_figure,
    steps_figure,
    training_curve,
)
from posebench.viz.legend import LegendPart, with_legend

_NOT_TERMS = ("step", "epoch", "lr", "loss", "images_per_second")
_SMOOTHED = 20  # steps
_LEAST_TILE = 320  # width in pixels of tiles with captions
MOST_TRACED = 4  # people of one image; each costs a backward pass


@dataclass(frozen=True)
class Drawing:
    """The picture of an image, and how many people are on it."""

    image: RGB
    people: int  # that were drawn
    best_score: float | None  # of the predicted people, drawn or not; None: none were predicted
    min_score: float  # below which people were left out


def draw_sample(
    model: Predicting,
    sample: Sample,
    *,
    predictions: PosePredictions | None = None,
    numbers: Sequence[int] | None = None,
    truth: Poses | None = None,
    heatmaps: bool = False,
    min_score: float | None = None,
    legend: bool = False,
) -> Drawing:
    """Draw the people that a model predicts on an image.

    Args:
        predictions: what the model predicted on it; None: it does so now, as it does for heatmaps.
        numbers: of the people who are drawn, where they are tracked.
        truth: the annotated people, drawn on a second copy of the image; None leaves that copy out.
        heatmaps: also show the maps of the whole image and, below, of each person.
        min_score: people with a lower score are left out; None: below the recipe's `draw_score`.
        legend: explain below the picture what is drawn.

    Source: CID (Wang & Zhang, CVPR 2022), Figs. 3, 4 and 6.
    """
    least = model.draw_score if min_score is None else min_score
    maps: Heatmaps | None = None
    if heatmaps:
        predictions, maps = model.explain(sample.image)
    elif predictions is None:
        predictions = model.predict(sample.image)
    keep = predictions.scores >= least
    kept = predictions[keep]
    best = _best(predictions)
    title = "predicted" if len(kept) else _nobody(best, least)
    tiles = [(title, draw_poses(sample.image, kept, model.skeleton, numbers=numbers))]
    if truth is not None:
        tiles.append(("annotated", draw_annotations(sample.image, truth, model.skeleton)))
    plain = len(tiles)
    if maps:
        tiles += [
            (heat_caption(name, scene), _overlay(sample, scene, maps))
            for name, scene in maps.scene.items()
        ]
    page = tiles[0][1]
    if len(tiles) > 1:
        images, titles = [image for _, image in tiles], [title for title, _ in tiles]
        heated = range(plain, len(tiles))
        page = gallery(images, titles, len(tiles), _tile(sample), heated=heated)
    if maps and len(kept):
        people = instance_figure(
            sample.image, maps.people[keep], kept, model.skeleton, maps.to_image, maps.stride
        )
        page = np.vstack([page, _fitted(people, page.shape[1])])
    if legend:
        page = with_legend(page, _parts(truth is not None, maps is not None))
    return Drawing(page, len(kept), best, least)


def _tile(sample: Sample) -> tuple[int, int]:
    """Return the size of an image's tiles: its own, or larger so that captions have room."""
    width, height = sample.size
    enlarged = max(1.0, _LEAST_TILE / width)
    return round(enlarged * width), round(enlarged * height)


def _fitted(page: RGB, width: int) -> RGB:
    """Return a page made narrower to a width, or in the middle of white."""
    if page.shape[1] > width:
        height = round(page.shape[0] * width / page.shape[1])
        return np.asarray(cv2.resize(page, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    missing = width - page.shape[1]
    padding = (0, 0), (missing // 2, missing - missing // 2), (0, 0)
    return np.pad(page, padding, constant_values=255)


def _overlay(sample: Sample, heatmap: Tensor, maps: Heatmaps) -> RGB:
    return heatmap_overlay(sample.image, heatmap, maps.to_image, maps.stride)


def _best(predictions: PosePredictions) -> float | None:
    return float(predictions.scores.max()) if len(predictions) else None


def _nobody(best: float | None, least: float) -> str:
    if best is None:
        return "no people found"
    return f"nobody: best score {best:.3g}, below {least:g}"


def _parts(annotated: bool, heated: bool) -> list[LegendPart]:
    parts: list[LegendPart] = ["predicted"]
    if annotated:
        parts.append("annotated")
    if heated:
        parts.append("heatmaps")
    return parts


def draw_steps(
    model: Predicting, sample: Sample, *, min_score: float | None = None, legend: bool = False
) -> Drawing:
    """Draw the path of each keypoint query of the best people, and what drives their scores.

    Args:
        min_score: people with a lower score are left out; None: below the recipe's `draw_score`.
        legend: explain below the picture what is drawn.

    Raises:
        ModelError: the method predicts people in one step.
    """
    least = model.draw_score if min_score is None else min_score
    predictions, trace = model.trace(sample.image, limit=MOST_TRACED)
    count = int((predictions.scores[:MOST_TRACED] >= least).sum())
    shown = replace(trace, steps=trace.steps[:count], reliance=trace.reliance[:count])
    best = _best(predictions)
    page = steps_figure(
        sample.image, predictions, shown, model.skeleton, nobody=_nobody(best, least)
    )
    if legend:
        page = with_legend(page, ["predicted", "steps", "heatmaps"])
    return Drawing(page, count, best, least)


def draw_gallery(
    model: Predicting, samples: list[Sample], *, min_score: float | None = None
) -> RGB:
    """Draw annotated samples, each with its predicted people next to its annotated ones.

    Args:
        min_score: people with a lower score are left out; None: below the recipe's `draw_score`.
    """
    least = model.draw_score if min_score is None else min_score
    tiles, captions = [], []
    for sample in samples:
        predictions = model.predict(sample.image)
        tiles += [
            draw_poses(sample.image, predictions, model.skeleton, min_score=least),
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
