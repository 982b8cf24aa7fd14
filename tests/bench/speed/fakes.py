"""Models that take no time, for tests of processes and turns."""

from __future__ import annotations

import os
import signal
from typing import Any

from posebench.bench.speed.options import CaseStats, TimingJob

STATS = CaseStats((64, 64), 1000, 4000, 2000, 10**9, 3 * 10**9, 2 * 10**9, 10**9, 5)

# Milliseconds of a pass.
MILLISECONDS = {"cid_tiny": 10.0, "higher_hrnet_tiny": 20.0, "posedet_tiny": 30.0}


class FakeModel:
    """Answers as `TimedModel` does."""

    def __init__(self, job: TimingJob) -> None:
        self.job = job
        self.turns = 0

    def prepare(self, case: int) -> CaseStats:
        return STATS

    def measure_for(self, case: int, seconds: float) -> list[dict[str, float]]:
        self.turns += 1
        # The machine slows down from turn to turn, for all models alike.
        took = MILLISECONDS[self.job.recipe] / 1000 * (1 + 0.1 * self.turns + case)
        return [{"decode image": 0.001, "network/features": took}] * 2


class FragileModel(FakeModel):
    """One recipe's process is killed in its second turn, another's runs out of memory."""

    def measure_for(self, case: int, seconds: float) -> list[dict[str, float]]:
        if self.turns == 1 and self.job.recipe == "higher_hrnet_tiny":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.job.recipe == "posedet_tiny":
            raise MemoryError("cannot have 5 GB")
        return super().measure_for(case, seconds)


class Echo:
    """Repeats words, or ends its process in some way."""

    def __init__(self, job: Any) -> None:
        if job == "unmade":
            raise ValueError("it cannot be made")
        self.job = job

    def say(self, *words: str) -> str:
        return " ".join([self.job, *words])

    def end(self, code: int) -> None:
        os._exit(code)

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def crash(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def forget(self) -> None:
        raise MemoryError

    def stumble(self) -> None:
        raise KeyError("surprise")

    def sleep(self) -> None:
        signal.pause()
