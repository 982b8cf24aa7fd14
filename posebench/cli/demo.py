"""`posebench demo`: train, evaluate and visualize on built-in data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posebench.cli.common import (
    DeviceOption,
    RunsOption,
    WorkersOption,
    out,
    print_metrics,
    print_unreadable,
)

_PICTURES = 12


def demo(
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs; three take about ten minutes on two cores.")
    ] = 3,
    seed: Annotated[
        int, typer.Option(help="Random seed for initial weights, image order and augmentation.")
    ] = 0,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Train cid_tiny on synthetic crowds for ten minutes, evaluate it and draw its predictions."""
    import posebench
    from posebench import engine
    from posebench.cli.train_progress import TrainProgress
    from posebench.viz import draw_curve, draw_gallery, write_image

    bf16 = engine.has_bf16(engine.pick_device(device))
    # The run lies among those of `train`, so that `posebench viz image.jpg` uses this model.
    with TrainProgress() as progress:
        run = posebench.train(
            "cid_tiny",
            "synthetic",
            epochs=epochs,
            evaluate_every=1,
            seed=seed,
            device=device,
            precision="bf16" if bf16 else "fp32",
            workers=workers,
            runs=runs,
            callback=progress,
        )
    print_unreadable(run.evaluation)
    print_metrics("cid_tiny on images it was not trained on", run.evaluation)
    assert run.folder is not None  # training has made it
    model = run.load_model(device=device)
    samples = [run.dataset.load(index) for index in range(_PICTURES)]
    gallery, curve = run.folder / "gallery.png", run.folder / "curve.png"
    write_image(gallery, draw_gallery(model, samples))
    write_image(curve, draw_curve(engine.read_log(run.folder)))
    out.print(f"Pictures: {gallery}, {curve}")
    out.print("Next: posebench viz image.jpg --heatmaps")
