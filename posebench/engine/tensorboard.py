"""A run's curves for TensorBoard, beside `log.jsonl`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from posebench.data.loader import Unreadable
from posebench.engine.callbacks import Callback, StepReport
from posebench.engine.evaluate import Evaluation
from posebench.errors import UsageError


class TensorBoard:
    """Writes what it is told into the run's `tensorboard/` and tells another callback.

    Raises:
        UsageError: the package tensorboard is not installed.
    """

    def __init__(self, run: Path, other: Callback) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError(
                "--tensorboard needs the package tensorboard: pip install 'posebench[tensorboard]'."
            ) from None
        self._other = other
        # A resumed run replaces what a killed one had written of later steps.
        self._open: Any = partial(SummaryWriter, str(run / "tensorboard"))
        self._writer: Any = None  # opened at the first step, whose number it wants
        self._step = 0

    def on_step(self, report: StepReport) -> None:
        if self._writer is None:
            self._writer = self._open(purge_step=report.step)
        self._step = report.step
        for name, value in {**report.terms, "sum": report.loss}.items():
            self._writer.add_scalar(f"loss/{name}", value, report.step)
        self._writer.add_scalar("lr", report.lr, report.step)
        self._writer.add_scalar("images_per_second", report.images_per_second, report.step)
        self._other.on_step(report)

    def on_eval_progress(self, done: int, total: int) -> None:
        self._other.on_eval_progress(done, total)

    def on_evaluation(self, epoch: int, evaluation: Evaluation, best: bool) -> None:
        if self._writer is None:
            self._writer = self._open(purge_step=self._step)
        for name, value in evaluation.metrics.items():
            if value >= 0:  # -1: there was nothing to find
                self._writer.add_scalar(f"metrics/{name}", value, self._step)
        self._writer.flush()
        self._other.on_evaluation(epoch, evaluation, best)

    def on_unreadable(self, image: Unreadable) -> None:
        self._other.on_unreadable(image)
