"""Clocks: how long each stage of a pass takes, on a CPU and on a GPU.

A GPU works while Python goes on. Its stages are told by events in its own stream, so that nothing
waits between them and the pass takes as long as without a clock; only at the end Python waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import torch

T = TypeVar("T")


class Clock(Protocol):
    """Times one pass after the other."""

    def start(self) -> None:
        """Begin a pass."""

    def mark(self, stage: str) -> None:
        """End a stage, which began at the mark before."""

    def stop(self) -> dict[str, float]:
        """Return the seconds of each stage; those of one name are added."""


class CpuClock:
    """Python's own clock."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self.marks: list[tuple[str, float]] = []

    def start(self) -> None:
        self.marks = [("", self.now())]

    def mark(self, stage: str) -> None:
        self.marks.append((stage, self.now()))

    def stop(self) -> dict[str, float]:
        return _durations(self.marks, lambda earlier, later: later - earlier)


class CudaClock:
    """Events in the stream of a GPU."""

    def __init__(
        self,
        event: Callable[..., Any] = torch.cuda.Event,
        synchronize: Callable[[], None] = torch.cuda.synchronize,
    ) -> None:
        self.event, self.synchronize = event, synchronize
        self.marks: list[tuple[str, Any]] = []

    def start(self) -> None:
        self.synchronize()  # what is under way is not this pass's
        self.marks = []
        self.mark("")

    def mark(self, stage: str) -> None:
        event = self.event(enable_timing=True)
        event.record()
        self.marks.append((stage, event))

    def stop(self) -> dict[str, float]:
        self.marks[-1][1].synchronize()
        return _durations(self.marks, lambda earlier, later: earlier.elapsed_time(later) / 1000)


def clock_for(device: torch.device) -> Clock:
    """Return the clock that suits a device."""
    return CudaClock() if device.type == "cuda" else CpuClock()


def _durations(marks: list[tuple[str, T]], between: Callable[[T, T], float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for (_, earlier), (stage, later) in pairwise(marks):
        found[stage] = found.get(stage, 0.0) + between(earlier, later)
    return found
