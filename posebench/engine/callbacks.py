"""What happens during a training run, for progress bars and loggers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from posebench.data.loader import Unreadable
from posebench.engine.evaluation import Evaluation


@dataclass(frozen=True)
class StepReport:
    """The outcome of one optimizer step."""

    step: int  # from 1
    steps: int  # of the whole run
    epoch: int  # from 1
    lr: float
    loss: float
    terms: dict[str, float]
    images_per_second: float


class Callback(Protocol):
    """Is called during a training run, e.g. to show its progress."""

    def on_start(self, run: Path) -> None: ...
    def on_step(self, report: StepReport) -> None: ...
    def on_eval_progress(self, done: int, total: int) -> None: ...
    def on_evaluation(self, epoch: int, evaluation: Evaluation, best: bool) -> None: ...
    def on_unreadable(self, image: Unreadable) -> None: ...
    def on_stop(self) -> None:
        """The user has asked the run to stop; it will once the current step is done."""

    def on_note(self, note: str) -> None:
        """Something about the run is worth a sentence, such as the weights it starts from."""


class NullCallback:
    """A callback that does nothing."""

    def on_start(self, run: Path) -> None: ...
    def on_step(self, report: StepReport) -> None: ...
    def on_eval_progress(self, done: int, total: int) -> None: ...
    def on_evaluation(self, epoch: int, evaluation: Evaluation, best: bool) -> None: ...
    def on_unreadable(self, image: Unreadable) -> None: ...
    def on_stop(self) -> None: ...
    def on_note(self, note: str) -> None: ...


# Callbacks that were written for earlier versions lack these two.


def announce_stop(callback: Callback) -> None:
    """Call `on_stop`, if there is one."""
    on_stop = getattr(callback, "on_stop", None)
    if on_stop:
        on_stop()


def announce(callback: Callback, note: str) -> None:
    """Call `on_note`, if there is one."""
    on_note = getattr(callback, "on_note", None)
    if on_note:
        on_note(note)
