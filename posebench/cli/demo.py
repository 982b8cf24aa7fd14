"""`posebench demo`: train, evaluate and draw, on built-in data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from posebench.cli.common import (
    DeviceOption,
    RunsOption,
    WorkersOption,
    messages,
    out,
    pick_device,
    pick_workers,
    print_metrics,
    say_unreadable,
)

_PICTURES = 12


def demo(
    epochs: Annotated[int, typer.Option(min=1, help="Three fit ten minutes on two cores.")] = 3,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Train cid_tiny on synthetic crowds, evaluate it, and draw what it finds: ten minutes."""
    from posebench import engine
    from posebench.cli.train import TrainProgress
    from posebench.data import open_dataset
    from posebench.models import RECIPES
    from posebench.structures import COCO
    from posebench.viz import draw_curve, draw_gallery, write_image

    recipe = replace(RECIPES["cid_tiny"], epochs=epochs, evaluate_every=1)
    place = pick_device(device)
    options = engine.TrainOptions(
        place,
        seed=seed,
        workers=pick_workers(workers, place),
        precision="bf16" if engine.has_bf16(place) else "fp32",
    )
    train_set = open_dataset("synthetic", "train", skeleton=COCO)
    eval_set = open_dataset("synthetic", "val", skeleton=COCO)
    # Beside the runs of `train`, so that `posebench viz image.jpg` finds this model.
    run = engine.new_run(runs, "train", recipe.name, "synthetic")
    messages.print(f"Training {recipe.name} on synthetic crowds: {run}")
    with TrainProgress() as callback:
        evaluation = engine.train(recipe, train_set, eval_set, run, options, callback=callback)
    rows = engine.tidy_rows(
        evaluation.metrics,
        recipe=recipe,
        dataset="synthetic",
        split="val",
        tta=recipe.inference.label,
        device=options.device,
        precision=options.precision,
    )
    engine.write_results(run, rows)
    say_unreadable(evaluation)
    print_metrics("cid_tiny on images it has not seen", evaluation)
    model = engine.inference_model(engine.read_checkpoint(run).model().to(options.device))
    samples = [eval_set.load(index) for index in range(_PICTURES)]
    write_image(run / "gallery.png", draw_gallery(model, samples, recipe.inference))
    write_image(run / "curve.png", draw_curve(engine.read_log(run)))
    out.print(f"Pictures: {run / 'gallery.png'}, {run / 'curve.png'}")
    out.print("Next: posebench viz image.jpg --heatmaps")
