"""`posebench train`: train a recipe, or continue a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, TaskID

from posebench.cli.common import (
    PROCESS,
    AnnotationsOption,
    DatasetOption,
    DeviceOption,
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
    pick_device,
    pick_precision,
    pick_workers,
    print_metrics,
    progress_bar,
    say_unreadable,
    with_settings,
)
from posebench.cli.together import DevicesOption, share_work

if TYPE_CHECKING:
    from posebench.data.loader import Unreadable
    from posebench.engine.callbacks import StepReport
    from posebench.engine.evaluate import Evaluation


def train(
    recipe: Annotated[str, typer.Argument(help="Recipe or method: `posebench models`.")],
    dataset: DatasetOption,
    data_root: RootOption = None,
    split: SplitOption = None,
    annotations: AnnotationsOption = None,
    eval_split: Annotated[
        str | None, typer.Option(help="Split to evaluate on [the dataset's usual].")
    ] = None,
    eval_annotations: Annotated[
        Path | None, typer.Option(help="Annotation file to evaluate on instead.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue this run folder; other options as at its start.")
    ] = None,
    settings: SetOption = None,
    pretrained: Annotated[
        bool, typer.Option(help="Start from ImageNet weights where the recipe does.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    precision: PrecisionOption = "fp32",
    workers: WorkersOption = None,
    strict: StrictOption = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write curves for TensorBoard.")
    ] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Train a recipe; Ctrl-C leaves a run that --resume continues."""
    share_work(devices)
    from dataclasses import replace

    from posebench import engine
    from posebench.data import find_layout, open_dataset
    from posebench.engine.train import TrainOptions
    from posebench.models import find_recipe

    layout = find_layout(dataset)
    chosen = with_settings(find_recipe(recipe, dataset), settings)
    if not pretrained:
        chosen = replace(chosen, pretrained=False)
    place = pick_device(device)
    options = TrainOptions(
        place, seed, pick_workers(workers, place), pick_precision(precision), strict=strict
    )
    train_set = open_dataset(
        dataset,
        split or layout.train_split,
        root=data_root,
        annotations=annotations,
        skeleton=chosen.skeleton,
    )
    engine.check_recipe(chosen, train_set)
    eval_set = open_dataset(
        dataset,
        eval_split or layout.eval_split,
        root=data_root,
        annotations=eval_annotations,
        skeleton=chosen.skeleton,
    )
    run = resume or engine.new_run(runs, "train", chosen.name, dataset)
    messages.print(escape(str(run)), soft_wrap=True)
    with TrainProgress() as progress:
        curves = tensorboard and PROCESS == 0
        callback = engine.TensorBoard(run, progress) if curves else progress
        evaluation = engine.train(
            chosen, train_set, eval_set, run, options, resume=bool(resume), callback=callback
        )
    if PROCESS > 0:
        return
    engine.write_results(
        run,
        engine.tidy_rows(
            evaluation.metrics,
            recipe=chosen,
            dataset=dataset,
            split=eval_set.split,
            tta=chosen.inference.label,
            device=options.device,
            precision=precision,
        ),
    )
    say_unreadable(evaluation)
    print_metrics(f"{chosen.name} on {dataset} {eval_set.split}", evaluation)
    out.print(escape(str(run)), soft_wrap=True)


class TrainProgress:
    """Shows a run on stderr: a bar with the loss terms, a line per evaluation."""

    def __init__(self) -> None:
        self.bar: Progress = progress_bar()
        self.steps: TaskID | None = None
        self.images: TaskID | None = None

    def __enter__(self) -> TrainProgress:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

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
        from posebench.engine import main_metric

        name, value = main_metric(evaluation.metrics)
        messages.print(f"epoch {epoch}  {name} {percent(value)}{'  best' if best else ''}")

    def on_unreadable(self, image: Unreadable) -> None:
        messages.print(f"[yellow]left out[/] {escape(image.message)}", soft_wrap=True)
