"""`posebench train`: train a recipe, or resume a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

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
    out,
    print_metrics,
    print_unreadable,
    say_renamed,
    warn_if_slow,
)
from posebench.cli.launch import DevicesOption, launch
from posebench.cli.train_progress import TrainProgress

if TYPE_CHECKING:
    from posebench.engine.callbacks import Callback


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
