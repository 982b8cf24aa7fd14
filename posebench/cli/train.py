"""`posebench train`: train a recipe, or resume a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.markup import escape
from rich.progress import Progress, TaskID

from posebench.cli.common import (
    RANK,
    AnnotationsOption,
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
from posebench.engine.request import find_request
from posebench.engine.runs import has_checkpoint, resume_words
from posebench.errors import Interrupted

if TYPE_CHECKING:
    from posebench.data.loader import Unreadable
    from posebench.engine import TrainingRequest
    from posebench.engine.callbacks import Callback, StepReport
    from posebench.engine.evaluation import Evaluation


T = TypeVar("T")


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Recipe or method; `posebench models` shows them. Not needed with --resume."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Dataset; `posebench data list` shows them. Not needed with --resume."),
    ] = None,
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
    before = find_request(resume) if resume else None
    launch(_given(context, "devices", devices) or _processes(before))
    import posebench

    say_renamed(settings)
    # None: not given, so the run to resume decides, or else the default.
    given_precision = _given(context, "precision", precision)
    given_device = _given(context, "device", device)
    warn_if_slow(
        given_precision or (before.precision if before else precision),
        given_device or (before.device if before else device),
    )
    with TrainProgress() as progress:
        run = posebench.train(
            recipe,
            dataset,
            split=split,
            eval_split=eval_split,
            data_root=data_root,
            annotations=annotations,
            eval_annotations=eval_annotations,
            settings=settings,
            pretrained=pretrained,
            resume=resume,
            seed=_given(context, "seed", seed),
            device=given_device,
            precision=given_precision,
            workers=workers,
            strict=_given(context, "strict", strict),
            limit=limit,
            runs=runs,
            callback=_with_tensorboard(progress) if _has_curves(tensorboard, resume) else progress,
        )
    if RANK > 0:
        return
    assert run.recipe is not None  # a training has one
    print_unreadable(run.evaluation)
    title = f"{run.recipe.name} on {run.dataset.name} {run.dataset.split}"
    print_metrics(title, run.evaluation)
    out.print(escape(str(run.folder)), soft_wrap=True)


def _given(context: typer.Context, name: str, value: T) -> T | None:
    """Return the value of an option that was given on the command line, else None."""
    source = context.get_parameter_source(name)
    return value if source is not None and source.name == "COMMANDLINE" else None


def _processes(before: TrainingRequest | None) -> int:
    """Return how many processes to start for a run that several on one machine trained."""
    if before is None or before.machines > 1 or os.environ.get("WORLD_SIZE", "1") != "1":
        return 1
    return before.processes


def _has_curves(wanted: bool, resume: Path | None) -> bool:
    """Return whether this process logs curves; a run that did so goes on with it."""
    return RANK == 0 and (wanted or (resume is not None and (resume / "tensorboard").is_dir()))


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
