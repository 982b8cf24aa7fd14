"""`posebench train`: train a recipe, or resume a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.markup import escape

from posebench.cli.common import (
    RANK,
    AnnotationsOption,
    CategoryOption,
    CompileOption,
    DeviceOption,
    ExifOption,
    ImagesOption,
    LimitOption,
    PrecisionOption,
    RootOption,
    RunsOption,
    SetOption,
    SkeletonOption,
    SplitOption,
    StrictOption,
    WorkersOption,
    out,
    print_metrics,
    print_unreadable,
    say_renamed,
    warn_if_slow,
)
from posebench.cli.launch import DevicesOption, launch
from posebench.cli.train_progress import TrainProgress
from posebench.engine.request import find_request

if TYPE_CHECKING:
    from posebench.engine import TrainingRequest
    from posebench.engine.callbacks import Callback


T = TypeVar("T")


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Recipe or method; `posebench models` shows them. Not needed with --resume.",
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
    images: ImagesOption = None,
    category: CategoryOption = None,
    skeleton: SkeletonOption = None,
    exif: ExifOption = "stored",
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Resume the run in this folder; it knows how it was started. With --set epochs=N "
            "it is trained for longer."
        ),
    ] = None,
    settings: SetOption = None,
    pretrained: Annotated[
        bool, typer.Option(help="Start the backbone from ImageNet weights, if the recipe does.")
    ] = True,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Start from the weights of a run, a checkpoint or a recipe, as far as they fit; "
            "heads are taken keypoint by keypoint, by name."
        ),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            help="Part that is not trained: backbone. Its batch norms keep their statistics."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Length in optimizer steps in place of epochs, for small datasets: whole epochs "
            "of about so many.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Random seed for initial weights, image order and augmentation.")
    ] = 0,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    precision: PrecisionOption = "fp32",
    workers: WorkersOption = None,
    limit: LimitOption = None,
    strict: StrictOption = False,
    compile: CompileOption = False,
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
            images=images,
            category=category or (),
            skeleton=skeleton,
            exif=_given(context, "exif", exif),
            settings=settings,
            pretrained=pretrained,
            weights=weights,
            freeze=freeze,
            steps=steps,
            resume=resume,
            seed=_given(context, "seed", seed),
            device=given_device,
            precision=given_precision,
            workers=workers,
            strict=_given(context, "strict", strict),
            compile=_given(context, "compile", compile),
            limit=limit,
            runs=runs,
            callback=_with_tensorboard(progress) if _has_curves(tensorboard, resume) else progress,
        )
    if RANK > 0:
        return
    assert run.recipe is not None  # a training has one
    print_unreadable(run.evaluation)
    title = f"{run.recipe.name} on {run.dataset.name} {run.dataset.split}"
    print_metrics(title, run.evaluation, run.dataset.facts, run.interval)
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
