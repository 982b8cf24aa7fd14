"""The models whose weights come with the package, side by side on the same synthetic crowds.

Each model lives in its own process. They take turns over the images, a few at a time, so that a
slow spell of the machine slows all of them; the same predictions are scored and timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from posebench.bench.comparison import compare
from posebench.bench.flops import describe
from posebench.bench.speed.memory import peak_growth
from posebench.bench.speed.worker import Worker
from posebench.data.base import PoseDataset
from posebench.engine import Model, find_model
from posebench.metrics.resampling import matches
from posebench.models import RECIPES
from posebench.structures import COCO, PosePredictions, Sample

PICTURES = 6  # crowds of which the predictions are kept
_PER_TURN = 10  # images; more would let slow spells fall on one model, fewer empty its caches

OnProgress = Callable[[int, int], None]  # (predictions done, predictions in all)


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

    def people(self) -> PosePredictions:
        return PosePredictions(
            torch.from_numpy(self.keypoints),
            torch.from_numpy(self.keypoint_scores),
            torch.from_numpy(self.scores),
            COCO,
        )


class DemoModel:
    """A model in its own process."""

    def __init__(self, job: DemoJob) -> None:
        self.model = Model.of(find_model(job.recipe), device=job.device)
        # Numba compiles here, and not in a timed pass.
        self.predict([np.zeros((256, 256, 3), np.uint8)])

    def memory(self, image: NDArray[np.uint8]) -> int:
        """Return the bytes of the weights, and of what predicting an image needs at its peak."""
        self.predict([image])
        network = self.model.fast_network
        weights = [*network.parameters(), *network.buffers()]
        growth = peak_growth(self.model.device, lambda: self.predict([image]))
        return growth + sum(tensor.numel() * tensor.element_size() for tensor in weights)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[DemoPrediction]:
        found = []
        for image in images:
            start = time.perf_counter()
            people = self.model.predict(image)
            arrays = [
                tensor.float().cpu().numpy()
                for tensor in (people.keypoints, people.keypoint_scores, people.scores)
            ]
            found.append(DemoPrediction(time.perf_counter() - start, *arrays))
        return found


class Asked(Protocol):
    """The parent's side of a model's process."""

    def ask(self, method: str, *arguments: Any) -> Any: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Crowd:
    """One image with what every model predicts on it."""

    sample: Sample
    people: dict[str, PosePredictions]  # by recipe


@dataclass(frozen=True)
class Demo:
    """The outcome: a row for each model, best first, and the crowds to draw."""

    rows: pd.DataFrame
    crowds: list[Crowd]


def run_demo(
    recipes: Sequence[str],
    dataset: PoseDataset,
    *,
    device: str = "cpu",
    on_progress: OnProgress = lambda done, total: None,
    start: Callable[[DemoJob], Asked] = lambda job: Worker(DemoModel, job),
) -> Demo:
    """Evaluate and time models on the images of a dataset.

    Args:
        recipes: with shipped weights for COCO's keypoints.
        dataset: the images.
        device: `cpu`, `cuda` or `cuda:N`.
        on_progress: is called after each turn.
        start: starts a model's process.

    Returns:
        Rows with `model`, `method`; `ap`, `ap_low`, `ap_high` (percent, 95 % interval); `letters`
        (models that share one cannot be told apart); `ms` (median of one image, from pixels to
        people), `fps`; `params_M`, `gmacs` (one forward pass); `peak_MB`.
    """
    workers = {name: start(DemoJob(name, device)) for name in recipes}  # all prepare at once
    try:
        found, peaks = _take_turns(workers, dataset, on_progress)
    finally:
        for worker in workers.values():
            worker.close()
    truth = dataset.ground_truth()
    ids = [image["id"] for image in truth["images"]]
    matched = {
        name: matches(
            truth,
            [
                result
                for image_id, one in zip(ids, predictions, strict=True)
                for result in one.people().to_coco(image_id)
            ],
            dataset.protocol,
        )
        for name, predictions in found.items()
    }
    rows = []
    for model in compare(matched):
        costs = describe(RECIPES[model.name])
        ms = 1e3 * median(one.seconds for one in found[model.name])
        rows.append(
            {
                "model": model.name,
                "method": RECIPES[model.name].method,
                "ap": 100 * model.ap.value,
                "ap_low": 100 * model.ap.low,
                "ap_high": 100 * model.ap.high,
                "letters": model.letters,
                "ms": ms,
                "fps": 1e3 / ms,
                "params_M": costs["params_M"],
                "gmacs": costs["gmacs"],
                "peak_MB": peaks[model.name] / 1e6,
            }
        )
    crowds = [
        Crowd(dataset.load(i), {name: found[name][i].people() for name in found})
        for i in _most_crowded(dataset)
    ]
    return Demo(pd.DataFrame(rows), crowds)


def _take_turns(
    workers: Mapping[str, Asked], dataset: PoseDataset, on_progress: OnProgress
) -> tuple[dict[str, list[DemoPrediction]], dict[str, int]]:
    """Return every model's predictions on every image, and the peak memory in bytes."""
    total = len(dataset)
    found: dict[str, list[DemoPrediction]] = {name: [] for name in workers}
    first = dataset.load(0).image
    peaks = {name: int(worker.ask("memory", first)) for name, worker in workers.items()}
    for begin in range(0, total, _PER_TURN):
        images = [dataset.load(i).image for i in range(begin, min(begin + _PER_TURN, total))]
        for name, worker in workers.items():
            found[name] += worker.ask("predict", images)
            on_progress(sum(map(len, found.values())), total * len(workers))
    return found, peaks


def _most_crowded(dataset: PoseDataset) -> list[int]:
    """Return the images with most people, in the dataset's order."""
    people = [len(dataset.load(i, pixels=False).poses) for i in range(len(dataset))]
    return sorted(sorted(range(len(people)), key=lambda i: -people[i])[:PICTURES])
