"""The progress of a training, as the commands that train show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import TaskID

from posebench.cli.common import messages, percent, progress_bar
from posebench.cli.progress import parts
from posebench.engine.runs import has_checkpoint, resume_words
from posebench.errors import Interrupted

if TYPE_CHECKING:
    from posebench.data.loader import Unreadable
    from posebench.engine.callbacks import StepReport
    from posebench.engine.evaluation import Evaluation


class TrainProgress:
    """Shows a training on stderr: its steps with the loss terms, and a line per evaluation.

    Without a terminal, each epoch ends with a line.
    """

    def __init__(self) -> None:
        self.bar = progress_bar()
        self.steps: TaskID | None = None
        self.images: TaskID | None = None
        self.run: Path | None = None
        self.epoch = 0  # of the last step, until its epoch's line has been written

    def __enter__(self) -> TrainProgress:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *rest: object) -> None:
        self.bar.stop()
        if kind is KeyboardInterrupt and self.run and has_checkpoint(self.run):
            raise Interrupted(
                "Stopped at once; the run continues from its last checkpoint.",
                command=resume_words(self.run),
            )

    def on_start(self, run: Path) -> None:
        self.run = run
        messages.print(escape(str(run)), soft_wrap=True)

    def on_step(self, report: StepReport) -> None:
        if self.steps is None:
            self.steps = self.bar.add_task("train", total=report.steps, note="")
        if report.epoch != self.epoch:
            self._end_epoch()
        self.epoch = report.epoch
        self.bar.update(self.steps, completed=report.step, note=_note(report))
        if report.step == report.steps:
            self._end_epoch()

    def on_eval_progress(self, done: int, total: int) -> None:
        self._end_epoch()
        if self.images is None:
            self.images = self.bar.add_task("evaluate", total=total, note="")
        self.bar.update(self.images, completed=done)

    def on_evaluation(self, epoch: int, evaluation: Evaluation, best: bool) -> None:
        self._end_epoch()
        if self.images is not None:
            self.bar.remove_task(self.images)
            self.images = None
        from posebench.metrics import main_metric

        name, value = main_metric(evaluation.metrics)
        messages.print(f"epoch {epoch}  {name} {percent(value)}{'  best' if best else ''}")

    def on_unreadable(self, image: Unreadable) -> None:
        messages.print(f"[yellow]skipped[/] {escape(image.message)}", soft_wrap=True)

    def on_stop(self) -> None:
        messages.print("Stopping after this step; Ctrl-C again stops at once.")

    def on_note(self, note: str) -> None:
        messages.print(escape(note), soft_wrap=True)

    def _end_epoch(self) -> None:
        if self.epoch and self.steps is not None:
            self.bar.write_line(self.steps)
        self.epoch = 0


def _note(report: StepReport) -> str:
    """Return what fits behind the time left: the loss terms come last, and are cut first."""
    pace = report.images_per_second
    return parts(
        f"epoch {report.epoch}",
        f"{pace:.0f} images/s" if pace >= 10 else f"{pace:.2g} images/s",
        f"loss {report.loss:.3f}",
        *(f"{name} {value:.3f}" for name, value in report.terms.items()),
    )
