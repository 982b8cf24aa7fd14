"""The models whose weights come with the package, side by side on the same synthetic crowds.

Each model lives in its own process. They take turns over the images, a few at a time, so that a
slow spell of the machine slows all of them; the same predictions are scored and timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from posebench.bench.comparison import compare_matches
from posebench.bench.draws import SEED
from posebench.bench.flops import describe
from posebench.bench.speed.memory import peak_growth
from posebench.bench.speed.worker import Worker, WorkerFailed
from posebench.data.synthetic_crowds import SyntheticCrowds, ground_truth_of
from posebench.engine import Model, Provenance, find_model, provenance_of, training_seed
from posebench.engine.runs import git_commit, hardware
from posebench.errors import ModelError, UsageError
from posebench.metrics.resampling import matches
from posebench.models import RECIPES
from posebench.skeleton import COCO
from posebench.structures import PosePredictions, Sample

PICTURES = 6
_CROWD = 0.4  # level of the pictures: several people, who overlap

# Images per turn; more would let slow spells fall on one model, fewer empty its caches.
_PER_TURN = 10
# With the validation images of seed 0 the best epoch of each training was chosen.
_FIRST_SEED = 1

# (what is being done, predictions done, predictions in all)
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoJob:
    """What a worker's process needs to build its model."""

    recipe: str
    device: str


@dataclass(frozen=True)
class DemoPrediction:
    """The people of one image as plain arrays, and how long it took from pixels to people."""

    seconds: float
    keypoints: NDArray[np.float32]  # (N, K, 2) pixels
    keypoint_scores: NDArray[np.float32]  # (N, K)
    scores: NDArray[np.float32]  # (N,)

    def people(self, draw_score: float) -> PosePredictions:
        return PosePredictions(
            torch.from_numpy(self.keypoints),
            torch.from_numpy(self.keypoint_scores),
            torch.from_numpy(self.scores),
            COCO,
            draw_score,
        )


class DemoModel:
    """A model in its own process."""

    def __init__(self, job: DemoJob) -> None:
        self.model = Model.of(find_model(job.recipe), device=job.device)

    def prepare(self, image: NDArray[np.uint8]) -> int:
        """Compile what numba compiles, and return the bytes that predicting an image needs.

        They are the weights, and the peak of all else.
        """
        self.predict([image])
        network = self.model.fast_network
        weights = [*network.parameters(), *network.buffers()]
        growth = peak_growth(self.model.device, lambda: self.predict([image]))
        return growth + sum(tensor.numel() * tensor.element_size() for tensor in weights)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[DemoPrediction]:
        predictions = []
        for image in images:
            start = time.perf_counter()
            people = self.model.predict(image)
            arrays = [
                tensor.float().cpu().numpy()
                for tensor in (people.keypoints, people.keypoint_scores, people.scores)
            ]
            predictions.append(DemoPrediction(time.perf_counter() - start, *arrays))
        return predictions


class Asked(Protocol):
    """The parent's side of a model's process."""

    def ask(self, method: str, *arguments: Any) -> Any: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Crowd:
    """One image with what every model predicts on it."""

    sample: Sample
    people: dict[str, PosePredictions]  # by recipe, from the highest AP to the lowest


@dataclass(frozen=True)
class Demo:
    """The outcome: a row for each model, best first, and the crowds to draw."""

    rows: pd.DataFrame
    crowds: list[Crowd]


def demo_images(images: int, seed: int = 0) -> SyntheticCrowds:
    """Return synthetic crowds that no training has seen and by which no weights were chosen.

    Raises:
        UsageError: the seed is negative.
    """
    if seed < 0:
        raise UsageError(f"Expected a seed of at least 0, but found {seed}.")
    return SyntheticCrowds(COCO, "val", length=images, seed=_FIRST_SEED + seed)


def run_demo(
    recipes: Sequence[str],
    dataset: SyntheticCrowds,
    *,
    device: str = "cpu",
    on_progress: OnProgress = lambda what, done, total: None,
    start: Callable[[DemoJob], Asked] = lambda job: Worker(DemoModel, job),
) -> Demo:
    """Evaluate and time models on the images of a dataset.

    Args:
        recipes: with shipped weights for COCO's keypoints.
        dataset: the images.
        device: `cpu`, `cuda` or `cuda:N`.
        on_progress: is called before each turn, and when all are done.
        start: starts a model's process.

    Returns:
        Rows with `model`, `method`; `ap`, `ap_low`, `ap_high` (percent, 95 % interval); `letters`
        (models that share one cannot be told apart); `ms` (median of one image, from pixels to
        people), `fps`; `params_M`, `gmacs` (one forward pass), `peak_MB`; and what they depend on.

    Raises:
        ModelError: there are no models, or the process of one has failed.
    """
    if not recipes:
        raise ModelError(
            "The demo compares the models that come with the package, but this installation has "
            "none: install posebench again, or train one with `posebench demo --train`."
        )
    samples: list[Sample] = []
    workers = {name: start(DemoJob(name, device)) for name in recipes}  # all load at once
    try:
        predictions, peaks = _take_turns(workers, dataset, samples, on_progress)
        drawn = crowds_to_draw(dataset)
        seen = {
            name: _ask(workers, name, "predict", [sample.image for sample in drawn])
            for name in workers
        }
    finally:
        for worker in workers.values():
            worker.close()
    people, on_drawn = (
        {
            name: [one.people(RECIPES[name].draw_score) for one in own]
            for name, own in by_model.items()
        }
        for by_model in (predictions, seen)
    )
    truth = ground_truth_of(samples, dataset.protocol)
    compared, _ = compare_matches(
        {
            name: matches(
                truth,
                [
                    result
                    for sample, found in zip(samples, own, strict=True)
                    for result in found.to_coco(sample.image_id)
                ],
                dataset.protocol,
            )
            for name, own in people.items()
        }
    )
    rows = []
    for model in compared:
        recipe = RECIPES[model.name]
        costs = describe(recipe)
        ms = 1e3 * median(one.seconds for one in predictions[model.name])
        rows.append(
            {
                "model": model.name,
                "method": recipe.method,
                "ap": 100 * model.metrics["AP"].value,
                "ap_low": 100 * model.metrics["AP"].low,
                "ap_high": 100 * model.metrics["AP"].high,
                "letters": model.letters,
                "ms": ms,
                "fps": 1e3 / ms,
                "params_M": costs["params_M"],
                "gmacs": costs["gmacs"],
                "peak_MB": peaks[model.name] / 1e6,
                "tta": recipe.inference.label,
                "dataset": dataset.name,
                "images": len(dataset),
                "seed": dataset.seed - _FIRST_SEED,
                "hardware": hardware(torch.device(device)),
                "date": datetime.now().date().isoformat(),
                "commit": git_commit(),
                **_provenance(model.name, dataset).columns(),
            }
        )
    order = [model.name for model in compared]
    crowds = [
        Crowd(sample, {name: on_drawn[name][i] for name in order}) for i, sample in enumerate(drawn)
    ]
    return Demo(pd.DataFrame(rows), crowds)


def _provenance(name: str, dataset: SyntheticCrowds) -> Provenance:
    checkpoint = find_model(name)  # whose recipe may have been trained for other epochs
    seed = training_seed(checkpoint.path, checkpoint.facts)
    return provenance_of(
        recipe=checkpoint.recipe, dataset=dataset, weights=checkpoint.path,
        seeds={"training": seed, "bootstrap": SEED},
    )  # fmt: skip


def _take_turns(
    workers: Mapping[str, Asked],
    dataset: SyntheticCrowds,
    samples: list[Sample],
    on_progress: OnProgress,
) -> tuple[dict[str, list[DemoPrediction]], dict[str, int]]:
    """Draw the images, and return every model's predictions and its peak memory in bytes."""
    total = len(dataset) * len(workers)
    predictions: dict[str, list[DemoPrediction]] = {name: [] for name in workers}
    samples.append(dataset.load(0))
    peaks = {}
    for name in workers:
        on_progress(f"{name}: loads", 0, total)
        peaks[name] = int(_ask(workers, name, "prepare", samples[0].image))
    done = 0
    for begin in range(0, len(dataset), _PER_TURN):
        end = min(begin + _PER_TURN, len(dataset))
        samples += [dataset.load(i) for i in range(len(samples), end)]
        images = [sample.image for sample in samples[begin:end]]
        for name in workers:
            on_progress(name, done, total)
            predictions[name] += _ask(workers, name, "predict", images)
            done += len(images)
    on_progress("compares", done, total)
    return predictions, peaks


def crowds_to_draw(dataset: SyntheticCrowds) -> list[Sample]:
    """Return the images for the pictures, with more people than those that are scored."""
    crowded = replace(dataset, length=PICTURES, crowd=_CROWD)
    return [crowded.load(i) for i in range(PICTURES)]


def _ask(workers: Mapping[str, Asked], name: str, method: str, argument: Any) -> Any:
    try:
        return workers[name].ask(method, argument)
    except WorkerFailed as error:
        raise ModelError(
            f"{name} failed in its process ({error}): see whether memory is short, and start the "
            "demo again."
        ) from error
