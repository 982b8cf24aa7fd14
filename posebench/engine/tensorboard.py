"""A run's curves for TensorBoard, beside `log.jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posebench.data.loader import Unreadable
from posebench.engine.callbacks import Callback, StepReport, announce, announce_stop
from posebench.engine.evaluation import Evaluation
from posebench.errors import UsageError


class TensorBoard:
    """Writes a run's curves into its `tensorboard/`, and calls another callback.

    Raises:
        UsageError: the package tensorboard is not installed.
    """

    def __init__(self, other: Callback) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError(
                "--tensorboard needs the package tensorboard: pip install 'posebench[tensorboard]'."
            ) from None
        self._other = other
        self._summary_writer = SummaryWriter
        self._folder = ""
        self._writer: Any = None
        self._step = 0

    def on_start(self, run: Path) -> None:
        self._folder = str(run / "tensorboard")
        self._other.on_start(run)

    def _opened(self, step: int) -> Any:
        """Return the writer; a resumed run replaces what a killed one wrote for later steps."""
        if self._writer is None:
            self._writer = self._summary_writer(self._folder, purge_step=step)
        return self._writer

    def on_step(self, report: StepReport) -> None:
        self._step = report.step
        writer = self._opened(report.step)
        for name, value in {**report.terms, "sum": report.loss}.items():
            writer.add_scalar(f"loss/{name}", value, report.step)
        writer.add_scalar("lr", report.lr, report.step)
        writer.add_scalar("images_per_second", report.images_per_second, report.step)
        self._other.on_step(report)

    def on_eval_progress(self, done: int, total: int) -> None:
        self._other.on_eval_progress(done, total)

    def on_evaluation(self, epoch: int, evaluation: Evaluation, best: bool) -> None:
        writer = self._opened(self._step)
        for name, value in evaluation.metrics.items():
            if value >= 0:  # -1: there was no ground truth to detect
                writer.add_scalar(f"metrics/{name}", value, self._step)
        writer.flush()
        self._other.on_evaluation(epoch, evaluation, best)

    def on_unreadable(self, image: Unreadable) -> None:
        self._other.on_unreadable(image)

    def on_stop(self) -> None:
        announce_stop(self._other)

    def on_note(self, note: str) -> None:
        announce(self._other, note)
