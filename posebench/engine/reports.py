"""What a run tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from posebench.data.loader import Unreadable
from posebench.engine.evaluate import Evaluation


@dataclass(frozen=True)
class StepReport:
    """One optimizer step."""

    step: int  # from 1
    steps: int  # of the whole run
    epoch: int  # from 1
    lr: float
    loss: float
    terms: dict[str, float]
    images_per_second: float


class Reporter(Protocol):
    """Whoever watches a run: the command line, or nobody."""

    def stepped(self, report: StepReport) -> None: ...
    def evaluating(self, done: int, total: int) -> None: ...
    def evaluated(self, epoch: int, evaluation: Evaluation, best: bool) -> None: ...
    def unreadable(self, image: Unreadable) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def stepped(self, report: StepReport) -> None: ...
    def evaluating(self, done: int, total: int) -> None: ...
    def evaluated(self, epoch: int, evaluation: Evaluation, best: bool) -> None: ...
    def unreadable(self, image: Unreadable) -> None: ...
