"""`posebench eval`: score a run, a checkpoint, a result file, or a recipe's upper bound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    RANK,
    AnnotationsOption,
    BackendOption,
    CategoryOption,
    CompileOption,
    DeviceOption,
    ExifOption,
    ImagesOption,
    JsonOption,
    LimitOption,
    RootOption,
    RunsOption,
    SetOption,
    SkeletonOption,
    SplitOption,
    StrictOption,
    WorkersOption,
    messages,
    print_metrics,
    print_rows,
    print_unreadable,
    progress_bar,
    say_renamed,
    warn_if_slow,
)
from posebench.cli.launch import DevicesOption, launch

if TYPE_CHECKING:
    from posebench import Run


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Run folder, checkpoint, exported file (.onnx, .xml, .pt2), or recipe with "
            "weights, such as cid_tiny; with --oracle any recipe.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Dataset (default: the one the model was trained on)."),
    ] = None,
    data_root: RootOption = None,
    split: SplitOption = None,
    annotations: AnnotationsOption = None,
    images: ImagesOption = None,
    category: CategoryOption = None,
    skeleton: SkeletonOption = None,
    exif: ExifOption = "stored",
    predictions: Annotated[
        Path | None,
        typer.Option(help="Score this result file in COCO's format instead of a model."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="With --predictions: name of the rows (default: the file's name)."),
    ] = None,
    oracle: Annotated[
        bool,
        typer.Option(
            "--oracle",
            help="Score ideal network outputs: the upper bound of the recipe's representation.",
        ),
    ] = False,
    flip: Annotated[
        bool | None,
        typer.Option(
            help="Merge with the predictions on the mirrored image (default: the recipe's)."
        ),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            help="Merge predictions at several scales, e.g. 0.5,1,2 (default: the recipe's)."
        ),
    ] = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    precision: Annotated[
        str,
        typer.Option(
            help="Precision: fp32, tf32 on a GPU, bf16 autocast, or auto, which is fp32 here."
        ),
    ] = "fp32",
    backend: BackendOption = "torch",
    batch_size: Annotated[
        int,
        typer.Option(min=1, help="Images per forward pass; only those of one size share a pass."),
    ] = 8,
    workers: WorkersOption = None,
    limit: LimitOption = None,
    strict: StrictOption = False,
    compile: CompileOption = False,
    json: JsonOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Evaluate a run, a checkpoint or a result file; or a recipe's upper bound with --oracle."""
    launch(devices)
    import posebench

    say_renamed(settings)
    chosen_scales = None if scales is None else _scales(scales)
    if model and not oracle:
        warn_if_slow(precision, device)
    with progress_bar() as bar:
        task = bar.add_task("evaluate", total=None, note="")
        run = posebench.evaluate(
            model,
            dataset,
            split,
            predictions=predictions,
            name=name,
            oracle=oracle,
            data_root=data_root,
            annotations=annotations,
            images=images,
            category=category or (),
            skeleton=skeleton,
            exif=exif,
            flip=flip,
            scales=chosen_scales,
            settings=settings,
            device=device,
            precision=precision,
            backend=backend,
            compile=compile,
            batch_size=batch_size,
            workers=workers,
            limit=limit,
            strict=strict,
            runs=runs,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if RANK > 0:
        return
    print_unreadable(run.evaluation)
    if backend != "torch" and len(run.rows):
        messages.print(f"Computed by {run.rows['backend'].iloc[0]}.")
    if json:
        print_rows(run.rows)
        return
    if run.metrics:
        print_metrics(_title(run, oracle), run.evaluation, run.dataset.facts, run.interval)
        if not run.dataset.ground_truth().people.any():
            messages.print("note: nobody is annotated in these images: nothing can be scored.")
        messages.print(f"Written to {escape(str(run.folder))}", soft_wrap=True)
    else:
        _say_predicted(run)


def _scales(text: str) -> tuple[float, ...]:
    from posebench.errors import UsageError

    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(
            f"--scales expects comma-separated numbers such as 0.5,1,2, not {text!r}."
        ) from None


def _say_predicted(run: Run) -> None:
    """Say where the predictions on images without annotations are, and who scores them."""
    assert run.folder is not None
    found = run.evaluation.results
    messages.print(
        f"{len(found)} people in {run.evaluation.images} images of {run.dataset.name} "
        f"{run.dataset.split}, which are not annotated: nothing is scored. Written to "
        f"{escape(str(run.folder / 'predictions.json'))}. {escape(run.dataset.submission)}".strip(),
        soft_wrap=True,
    )


def _title(run: Run, oracle: bool) -> str:
    label = run.rows["recipe"].iloc[0]
    if oracle:
        label = f"upper bound of {label}"
    people = len(run.dataset.ground_truth())
    return (
        f"{label} on {run.dataset.name} {run.dataset.split}: {run.evaluation.images} images, "
        f"{people} annotations, {run.evaluation.seconds:.0f} s"
    )
