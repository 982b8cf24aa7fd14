"""`posebench eval`: score a run, a checkpoint, a result file, or a recipe's ideal outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    PROCESS,
    AnnotationsOption,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    RootOption,
    RunsOption,
    SetOption,
    SplitOption,
    StrictOption,
    WorkersOption,
    messages,
    pick_device,
    pick_precision,
    pick_workers,
    print_metrics,
    print_rows,
    progress_bar,
    say_unreadable,
    with_settings,
)
from posebench.cli.together import DevicesOption, share_work

if TYPE_CHECKING:
    from posebench.data import PoseDataset
    from posebench.engine import Evaluation


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Run folder, checkpoint, or recipe whose weights can be downloaded "
            "(mask_rcnn_resnet50_coco); with --oracle any recipe."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Dataset [the one it was trained on].")
    ] = None,
    data_root: RootOption = None,
    split: SplitOption = None,
    annotations: AnnotationsOption = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score this result file in COCO's format instead.")
    ] = None,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Score what a perfect network would output.")
    ] = False,
    flip: Annotated[
        bool | None, typer.Option(help="Also predict the mirrored image [as the recipe does].")
    ] = None,
    scales: Annotated[
        str | None, typer.Option(help="Merge several sizes, e.g. 0.5,1,2 [as the recipe does].")
    ] = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    precision: PrecisionOption = "fp32",
    workers: WorkersOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Print the average precision of a run, a checkpoint or a result file."""
    share_work(devices)
    from posebench import engine
    from posebench.data import find_layout, open_dataset
    from posebench.errors import UsageError
    from posebench.files import write_json
    from posebench.models import find_recipe
    from posebench.recipe import override

    if (predictions is None) == (model is None):
        raise UsageError(
            "eval expects one thing to score: a run or checkpoint, a recipe with --oracle, or "
            "--predictions FILE."
        )
    if oracle and model is None:
        raise UsageError("--oracle scores a recipe's ideal outputs, and a result file has none.")
    if model is None and dataset is None:
        raise UsageError("A result file does not say what it is for: name its --dataset.")
    if dataset:
        find_layout(dataset)  # a misspelt dataset is the first thing to say
    checkpoint = engine.find_model(model) if model and not oracle else None
    recipe = checkpoint.recipe if checkpoint else None
    if model and oracle:
        recipe = find_recipe(model, dataset or "coco")
    if checkpoint:
        # Imported weights know their keypoint set only, which is named like its dataset.
        dataset = dataset or checkpoint.facts.get("dataset", checkpoint.skeleton.name)
    layout = find_layout(dataset or "coco")
    dataset = layout.name
    if settings and recipe is None:
        raise UsageError("--set changes a recipe, and a result file has none.")
    if recipe:
        recipe = with_settings(recipe.on(dataset), settings)
    if recipe and flip is not None:
        recipe = replace(recipe, inference=replace(recipe.inference, flip=flip))
    if recipe and scales is not None:
        recipe = override(recipe, f"inference.scales=[{scales}]")
    data = open_dataset(
        dataset,
        split or layout.eval_split,
        root=data_root,
        annotations=annotations,
        skeleton=recipe.skeleton if recipe else None,
    )
    if recipe:
        engine.check_recipe(recipe, data, str(checkpoint.path) if checkpoint else "")
    chosen_device = pick_device(device) if checkpoint else None
    chosen_precision = pick_precision(precision)
    label = recipe.name if recipe else Path(str(predictions)).stem
    # Made first: a folder that cannot be written should not cost an evaluation.
    run = engine.new_run(runs, "eval", label, dataset)
    with progress_bar() as bar:
        task = bar.add_task("evaluate", total=len(data), note="")

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if checkpoint and recipe and chosen_device:
            network = replace(checkpoint, recipe=recipe).model().to(chosen_device)
            evaluation = engine.evaluate(
                network,
                data,
                recipe.inference,
                workers=pick_workers(workers, chosen_device),
                precision=chosen_precision,
                strict=strict,
                progress=progress,
            )
        elif recipe:
            evaluation = engine.evaluate_ideal(recipe, data, progress=progress)
        else:
            assert predictions is not None  # checked above
            evaluation = engine.evaluate_file(predictions, data)
    if PROCESS > 0:
        return
    if recipe:
        engine.write_recipe(run, recipe, data.skeleton)
    write_json(run / "metrics.json", evaluation.metrics)
    write_json(run / "predictions.json", evaluation.results)
    rows = engine.tidy_rows(
        evaluation.metrics,
        recipe=recipe,
        dataset=dataset,
        split=data.split,
        tta="oracle" if oracle else recipe.inference.label if recipe else "",
        device=chosen_device,
        precision=precision if checkpoint else "",
    )
    engine.write_results(run, rows)
    say_unreadable(evaluation)
    if json:
        print_rows(rows)
        return
    print_metrics(_title(label, data, oracle, evaluation), evaluation)
    messages.print(f"Written to {escape(str(run))}", soft_wrap=True)


def _title(label: str, data: PoseDataset, oracle: bool, evaluation: Evaluation) -> str:
    people = len(data.ground_truth()["annotations"])
    kind = "upper bound of " if oracle else ""
    return (
        f"{kind}{label} on {data.name} {data.split}: {evaluation.images} images, "
        f"{people} annotations, {evaluation.seconds:.0f} s"
    )
