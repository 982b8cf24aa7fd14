"""Models that take no time, for the processes and the turns of tests."""

from __future__ import annotations

import os
import signal
from typing import Any

from posebench.bench.subject import Facts, Subject

FACTS = Facts((64, 64), 1000, 4000, 2000, 10**9, 3 * 10**9, 2 * 10**9, 10**9, 5)

# Milliseconds of a pass.
MILLISECONDS = {"cid_tiny": 10.0, "higher_hrnet_tiny": 20.0, "posedet_tiny": 30.0}


class FakeModel:
    """Answers as `TimedModel` does; some fail on the way."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.turns = 0

    def prepare(self, case: int) -> Facts:
        return FACTS

    def turn(self, case: int, seconds: float) -> list[dict[str, float]]:
        self.turns += 1
        # The machine slows down from turn to turn, for everybody alike.
        took = MILLISECONDS[self.subject.recipe] / 1000 * (1 + 0.1 * self.turns + case)
        return [{"decode image": 0.001, "network/features": took}] * 2


class FragileModel(FakeModel):
    """Three ways to fail."""

    def turn(self, case: int, seconds: float) -> list[dict[str, float]]:
        if self.turns == 1 and self.subject.recipe == "higher_hrnet_tiny":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.subject.recipe == "posedet_tiny":
            raise MemoryError("cannot have 5 GB")
        return super().turn(case, seconds)


class Echo:
    """Says what it is told."""

    def __init__(self, subject: Any) -> None:
        if subject == "unmade":
            raise ValueError("it cannot be made")
        self.subject = subject

    def say(self, *words: str) -> str:
        return " ".join([self.subject, *words])

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
