"""A predictor that is ready to be timed, in its own process."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from posebench.bench.speed.clock import CpuClock, passes_within
from posebench.bench.speed.options import IMAGE, CaseStats, Seconds, TimingJob
from posebench.bench.speed.timed_model import TimedModel
from posebench.data.image_files import read_image
from posebench.engine import PREDICTORS, Predictor

PREDICT = "predict"


class TimedPredictor:
    """A predictor whose passes are timed, from image files to arrays of poses.

    It sees the images as they are, so the number of people that a case names does not matter to it.
    """

    def __init__(self, job: TimingJob, predictor: Predictor) -> None:
        if job.options.threads:
            torch.set_num_threads(job.options.threads)
        self.predictor = predictor
        self.clock = CpuClock()
        count = job.options.batch_size
        self.paths = [Path(job.images[index % len(job.images)]) for index in range(count)]

    def prepare(self, case: int) -> CaseStats:
        """Warm up and return the facts about a case that are known: the size, people found."""
        images = [read_image(path) for path in self.paths]
        people = self.predictor.predict(images, batch_size=len(images))
        height, width, _ = images[0].shape
        unknown = math.nan
        return CaseStats(
            (height, width), unknown, unknown, unknown, unknown, unknown, unknown, unknown,
            decoded=len(people[0]),
        )  # fmt: skip

    def measure_for(self, case: int, seconds: float) -> list[Seconds]:
        """Time passes for about some seconds, at least one, and return their stages."""
        return passes_within(seconds, self._pass)

    def _pass(self) -> Seconds:
        self.clock.start()
        images = [read_image(path) for path in self.paths]
        self.clock.mark(IMAGE)
        self.predictor.predict(images, batch_size=len(images))
        self.clock.mark(PREDICT)
        return self.clock.stop()


def timed(job: TimingJob) -> TimedModel | TimedPredictor:
    """Return what a job times, ready to be timed."""
    predictor = job.predictor or PREDICTORS.get(job.recipe)
    return TimedModel(job) if predictor is None else TimedPredictor(job, predictor)
