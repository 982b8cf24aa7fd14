"""Clocks that measure the stages of a pass (one timed run of a model), on a CPU and on a GPU.

A GPU runs asynchronously. Its stages are measured by events in its stream and Python waits for it
only once, at the end, so the clock does not slow the pass down.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import torch

T = TypeVar("T")

_MAX_PASSES = 200  # per turn


class Clock(Protocol):
    """Measures the stages of one pass at a time."""

    def start(self) -> None:
        """Start a pass and its first stage."""

    def mark(self, stage: str) -> None:
        """End the current stage, which gets this name, and start the next."""

    def stop(self) -> dict[str, float]:
        """Return stage -> seconds; stages of the same name are added up."""


class CpuClock:
    """A clock for stages that run on the CPU."""

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
    """A clock of events in the stream of a GPU."""

    def __init__(
        self,
        event: Callable[..., Any] = torch.cuda.Event,
        synchronize: Callable[[], None] = torch.cuda.synchronize,
    ) -> None:
        self.event, self.synchronize = event, synchronize
        self.marks: list[tuple[str, Any]] = []

    def start(self) -> None:
        self.synchronize()  # earlier work does not belong to this pass
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
    """Return a clock for a device."""
    return CudaClock() if device.type == "cuda" else CpuClock()


def passes_within(seconds: float, timed: Callable[[], dict[str, float]]) -> list[dict[str, float]]:
    """Return the stages of the passes that `timed` makes in about some seconds, at least one."""
    passes: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    while not passes or (time.perf_counter() < end and len(passes) < _MAX_PASSES):
        passes.append(timed())
    return passes


def _durations(marks: list[tuple[str, T]], between: Callable[[T, T], float]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for (_, earlier), (stage, later) in pairwise(marks):
        seconds[stage] = seconds.get(stage, 0.0) + between(earlier, later)
    return seconds
