"""Models of the demo that need no process: what they predict is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.bench.demo import DemoJob, DemoPrediction, crowds_to_draw
from posebench.bench.speed.worker import WorkerFailed
from posebench.data.synthetic_crowds import SyntheticCrowds

SECONDS = {"cid_tiny": 0.010, "posedet_tiny": 0.040}
BYTES = {"cid_tiny": 12_000_000, "posedet_tiny": 34_000_000}


class FakeModel:
    """`cid_tiny` finds everybody, others nobody.

    Args:
        calls: gets (recipe, method) of every request, and (recipe, "close").
        error: is raised by `posedet_tiny`'s predictions.
    """

    def __init__(
        self,
        job: DemoJob,
        dataset: SyntheticCrowds,
        calls: list[tuple[str, str]],
        error: BaseException | None = None,
    ) -> None:
        self.job, self.dataset, self.calls, self.error = job, dataset, calls, error

    def ask(self, method: str, *arguments: Any) -> Any:
        self.calls.append((self.job.recipe, method))
        if method == "prepare":
            return BYTES[self.job.recipe]
        if self.error and self.job.recipe == "posedet_tiny":
            raise self.error
        (images,) = arguments
        return self._predict(images)

    def _predict(self, images: Sequence[NDArray[np.uint8]]) -> list[DemoPrediction]:
        samples = [self.dataset.load(i) for i in range(len(self.dataset))]
        samples += crowds_to_draw(self.dataset)
        predictions = []
        for image in images:
            (sample,) = (one for one in samples if np.array_equal(one.image, image))
            keypoints = sample.poses.keypoints.float().numpy()
            if self.job.recipe != "cid_tiny":
                keypoints = keypoints[:0]
            people, count = keypoints.shape[:2]
            ones = np.ones((people, count), np.float32)
            seconds = SECONDS[self.job.recipe]
            predictions.append(DemoPrediction(seconds, keypoints, ones, ones[:, 0]))
        return predictions

    def close(self) -> None:
        self.calls.append((self.job.recipe, "close"))


FAILURE = WorkerFailed("out of memory: 3 GB")
