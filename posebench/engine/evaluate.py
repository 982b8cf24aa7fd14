"""Evaluation: a model, ideal outputs or somebody's result file against a dataset."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from posebench.data.base import PoseDataset
from posebench.data.loader import Unreadable, test_samples
from posebench.errors import DataError, ModelError
from posebench.layers.inputs import blank_batch
from posebench.metrics import PROTOCOLS, evaluate_keypoints, read_results, to_results
from posebench.models import PoseModel
from posebench.recipe import Recipe
from posebench.structures import PosePredictions, Sample, TestTime

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Evaluation:
    """What came out, with what it was computed from."""

    metrics: dict[str, float]  # as fractions; -1 where there was nothing to find
    results: list[dict[str, Any]]  # COCO results format
    images: int
    seconds: float
    unreadable: list[Unreadable] = field(default_factory=list)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which a network runs at a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def check_recipe(recipe: Recipe, dataset: PoseDataset, source: str = "") -> None:
    """Refuse a model of another keypoint set; `source` names its file, if it has one.

    Raises:
        ModelError: the kinds of keypoints differ.
    """
    skeleton = recipe.skeleton
    if skeleton is not None and skeleton.name != dataset.skeleton.name:
        raise ModelError(
            f"{dataset.name} has {len(dataset.skeleton)} keypoints ({dataset.skeleton.name}), but "
            f"{source or recipe.name} predicts {len(skeleton)} ({skeleton.name}). "
            f"Train one for it: posebench train {recipe.method} --dataset {dataset.name}"
        )


def predict_dataset(
    model: PoseModel,
    dataset: PoseDataset,
    test_time: TestTime,
    *,
    images_per_pass: int,
    workers: int = 0,
    precision: Precision = "fp32",
) -> Iterator[tuple[Sample, PosePredictions] | Unreadable]:
    """Yield every image of a dataset with the people predicted on it, or why there are none."""
    model.eval()
    waiting: list[Sample] = []

    def flush() -> Iterator[tuple[Sample, PosePredictions]]:
        with autocast(model.device, precision):
            predictions = model.predict(waiting, test_time)
        yield from zip(waiting, predictions, strict=True)
        waiting.clear()

    for item in test_samples(dataset, workers=workers):
        if isinstance(item, Unreadable):
            yield item
            continue
        waiting.append(item)
        if len(waiting) == images_per_pass:
            yield from flush()
    if waiting:
        yield from flush()


def evaluate(
    model: PoseModel,
    dataset: PoseDataset,
    test_time: TestTime,
    *,
    images_per_pass: int = 8,
    workers: int = 0,
    precision: Precision = "fp32",
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Predict and score a dataset.

    Args:
        strict: stop at the first image that cannot be read; otherwise its people count as missed
            and it is listed in the evaluation.
        progress: told (images done, images in all).

    Raises:
        DataError: an image cannot be read and `strict` is set, or none can be read.
    """
    start = time.perf_counter()
    results: list[dict[str, Any]] = []
    unreadable = []
    stream = predict_dataset(
        model,
        dataset,
        test_time,
        images_per_pass=images_per_pass,
        workers=workers,
        precision=precision,
    )
    for done, item in enumerate(stream, start=1):
        if isinstance(item, Unreadable):
            if strict:
                raise DataError(item.message)
            unreadable.append(item)
        else:
            sample, predictions = item
            results += to_results(sample.image_id, predictions)
        progress(done, len(dataset))
    if unreadable and len(unreadable) == len(dataset):
        raise DataError(
            f"None of the {len(dataset)} images of {dataset.name} {dataset.split} can be read; the "
            f"first: {unreadable[0].message}"
        )
    seconds = time.perf_counter() - start
    return Evaluation(score(results, dataset), results, len(dataset), seconds, unreadable)


def evaluate_ideal(
    recipe: Recipe,
    dataset: PoseDataset,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score what a perfect network's outputs decode to: the representation's upper bound.

    Needs annotations only; neither pixels nor weights are looked at.
    """
    with torch.device("meta"):  # no memory for weights that nobody reads
        model: PoseModel = recipe.build(recipe.config, dataset.skeleton)
    start = time.perf_counter()
    results: list[dict[str, Any]] = []
    with torch.inference_mode():
        for index in range(len(dataset)):
            sample = dataset.load(index, pixels=False)
            batch = blank_batch(sample, recipe.test_time.resize)
            (predictions,) = model.decode(model.ideal_outputs(batch), batch.geometry)
            results += to_results(sample.image_id, predictions)
            progress(index + 1, len(dataset))
    seconds = time.perf_counter() - start
    return Evaluation(score(results, dataset), results, len(dataset), seconds)


def evaluate_file(path: Path, dataset: PoseDataset) -> Evaluation:
    """Score somebody's result file in COCO's format.

    Raises:
        DataError: the file is missing or damaged, or holds what cannot be scored.
    """
    start = time.perf_counter()
    results = read_results(path, dataset.ground_truth(), dataset.skeleton)
    metrics = score(results, dataset)
    return Evaluation(metrics, results, len(dataset), time.perf_counter() - start)


def score(results: list[dict[str, Any]], dataset: PoseDataset) -> dict[str, float]:
    """Return the metrics of the dataset's own protocol."""
    protocol = PROTOCOLS[dataset.skeleton.name]
    return evaluate_keypoints(dataset.ground_truth(), results, protocol)
