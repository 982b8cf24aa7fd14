"""`posebench train`: train a recipe, or resume a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, TaskID

from posebench.cli.common import (
    RANK,
    AnnotationsOption,
    DatasetOption,
    DeviceOption,
    LimitOption,
    PrecisionOption,
    RootOption,
    RunsOption,
    SetOption,
    SplitOption,
    StrictOption,
    WorkersOption,
    messages,
    out,
    percent,
    print_metrics,
    print_unreadable,
    progress_bar,
    say_renamed,
    warn_if_slow,
)
from posebench.cli.launch import DevicesOption, launch
from posebench.engine.runs import has_checkpoint, resume_words
from posebench.errors import Interrupted

if TYPE_CHECKING:
    from posebench.data.loader import Unreadable
    from posebench.engine.callbacks import Callback, StepReport
    from posebench.engine.evaluation import Evaluation


def train(
    recipe: Annotated[str, typer.Argument(help="Recipe or method; `posebench models` shows them.")],
    dataset: DatasetOption,
    data_root: RootOption = None,
    split: SplitOption = None,
    annotations: AnnotationsOption = None,
    eval_split: Annotated[
        str | None, typer.Option(help="Split to evaluate on (default: the dataset's usual one).")
    ] = None,
    eval_annotations: Annotated[
        Path | None, typer.Option(help="Annotation file to evaluate on instead of the split's own.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Resume the run in this folder; repeat the options it was started with."),
    ] = None,
    settings: SetOption = None,
    pretrained: Annotated[
        bool, typer.Option(help="Start the backbone from ImageNet weights, if the recipe does.")
    ] = True,
    seed: Annotated[
        int, typer.Option(help="Random seed for initial weights, image order and augmentation.")
    ] = 0,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    precision: PrecisionOption = "fp32",
    workers: WorkersOption = None,
    limit: LimitOption = None,
    strict: StrictOption = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log curves for TensorBoard.")
    ] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Train a recipe; a run stopped with Ctrl-C continues with --resume."""
    launch(devices)
    import posebench
    from posebench.data import find_layout
    from posebench.models import find_recipe
    from posebench.recipe import with_settings

    find_layout(dataset)  # so that a misspelt dataset is reported first
    say_renamed(settings)
    chosen = with_settings(find_recipe(recipe, dataset), settings)
    warn_if_slow(precision, device)
    with TrainProgress() as progress:
        run = posebench.train(
            chosen,
            dataset,
            split=split,
            eval_split=eval_split,
            data_root=data_root,
            annotations=annotations,
            eval_annotations=eval_annotations,
            pretrained=pretrained,
            resume=resume,
            seed=seed,
            device=device,
            precision=precision,
            workers=workers,
            limit=limit,
            strict=strict,
            runs=runs,
            callback=_with_tensorboard(progress) if tensorboard and RANK == 0 else progress,
        )
    if RANK > 0:
        return
    print_unreadable(run.evaluation)
    print_metrics(f"{chosen.name} on {dataset} {run.dataset.split}", run.evaluation)
    out.print(escape(str(run.folder)), soft_wrap=True)


def _with_tensorboard(progress: TrainProgress) -> Callback:
    from posebench.engine import TensorBoard

    return TensorBoard(progress)


class TrainProgress:
    """Shows a run on stderr: a progress bar with the loss terms, and a line per evaluation."""

    def __init__(self) -> None:
        self.bar: Progress = progress_bar()
        self.steps: TaskID | None = None
        self.images: TaskID | None = None
        self.run: Path | None = None

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
        terms = "  ".join(f"{name} {value:.3f}" for name, value in report.terms.items())
        note = f"epoch {report.epoch}  {terms}  {report.images_per_second:.0f} images/s"
        self.bar.update(self.steps, completed=report.step, note=note)

    def on_eval_progress(self, done: int, total: int) -> None:
        if self.images is None:
            self.images = self.bar.add_task("evaluate", total=total, note="")
        self.bar.update(self.images, completed=done)

    def on_evaluation(self, epoch: int, evaluation: Evaluation, best: bool) -> None:
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
