"""`posebench demo`: compare the models that come with the package, or train one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    DeviceOption,
    JsonOption,
    RunsOption,
    WorkersOption,
    messages,
    out,
    print_metrics,
    print_rows,
    print_unreadable,
    progress_bar,
)

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from posebench.bench.demo import Demo

_PICTURES = 12


def demo(
    images: Annotated[
        int, typer.Option(min=2, max=200, help="Number of synthetic images to compare on.")
    ] = 150,
    train: Annotated[
        bool,
        typer.Option(
            "--train", help="Instead train cid_tiny from random weights, evaluate and draw it."
        ),
    ] = False,
    epochs: Annotated[
        int,
        typer.Option(min=1, help="With --train: epochs; three take ten minutes on two cores."),
    ] = 3,
    seed: Annotated[
        int, typer.Option(help="With --train: seed of initial weights, image order, augmentation.")
    ] = 0,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Compare all models that come with the package on the same synthetic crowds.

    Evaluates and times them in turns, and writes an HTML report with pictures of what each sees.
    Needs no data, no weights and no network.
    """
    if train:
        _train(epochs, seed, device, workers, runs)
        return
    from posebench.bench.demo import run_demo
    from posebench.data.synthetic_crowds import SyntheticCrowds
    from posebench.engine import new_run, pick_device
    from posebench.shipped import shipped_names
    from posebench.structures import COCO

    place = pick_device(device)
    run = new_run(runs, "demo", "comparison", "synthetic")
    names = shipped_names()
    messages.print(
        f"Comparing {len(names)} models on {images} synthetic crowds, in turns.", soft_wrap=True
    )
    dataset = SyntheticCrowds(COCO, "val", length=images)
    with progress_bar() as bar:
        task = bar.add_task("compare", total=images * len(names), note="")
        found = run_demo(
            names,
            dataset,
            device=str(place),
            on_progress=lambda done, total: bar.update(task, completed=done),
        )
    notes = _notes(found.rows, images, place)
    report = _write(found, notes, run)
    if json:
        print_rows(found.rows)
    else:
        _print(found.rows, notes)
    messages.print(f"Report: {escape(str(report))}", soft_wrap=True)
    messages.print(
        f"Draw with one of them: posebench viz image.jpg --model {found.rows['model'][0]} "
        "(they know drawn people, not photographs)",
        soft_wrap=True,
    )


def _notes(rows: pd.DataFrame, images: int, device: torch.device) -> list[str]:
    """Return the sentences that explain the table."""
    from posebench.engine.runs import git_commit, hardware
    from posebench.version import package_version

    pairs = len(rows) * (len(rows) - 1) // 2
    commit = git_commit()
    return [
        f"AP on {images} synthetic images that none was trained on. Models that share a letter "
        f"cannot be told apart on them (images exchanged in pairs, 5 %, Holm over {pairs} pairs). "
        "The models were trained once, with one seed.",
        "ms, FPS: median over the images, from pixels to people, with the flip test where the "
        "recipe has it. GMACs: one forward pass. MB: weights and the peak of one image.",
        f"Timed on {hardware(device)}; posebench {package_version()}"
        + (f" ({commit})." if commit else "."),
    ]


def _write(found: Demo, notes: list[str], run: Path) -> Path:
    """Write the rows, the pictures and the page, and return the page's path."""
    from posebench.files import atomic_write
    from posebench.viz import write_image
    from posebench.viz.demo_report import comparison_picture, crowd_picture, demo_page

    thresholds = dict.fromkeys(found.rows["model"], 0.1)
    crowds = [crowd_picture(crowd, thresholds) for crowd in found.crowds]
    write_image(run / "crowd.png", crowds[0])
    write_image(run / "comparison.png", comparison_picture(found.rows))
    with atomic_write(run / "comparison.csv") as beside:
        found.rows.to_csv(beside, index=False)
    report = run / "report.html"
    with atomic_write(report) as beside:
        beside.write_text(demo_page(found.rows, crowds, notes), encoding="utf-8")
    return report


def _print(rows: pd.DataFrame, notes: list[str]) -> None:
    from rich import box
    from rich.table import Table

    from posebench.viz.demo_report import COLUMNS, cells

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, (title, _) in COLUMNS.items():
        table.add_column(title, justify="left" if name == "model" else "right", no_wrap=True)
    for _, row in rows.iterrows():
        table.add_row(*map(escape, cells(row)))
    out.print(table)
    for note in notes:
        out.print(escape(note))


def _train(epochs: int, seed: int, device: str, workers: int | None, runs: Path) -> None:
    """Train cid_tiny on synthetic crowds, evaluate it and draw its predictions."""
    import posebench
    from posebench import engine
    from posebench.cli.train import TrainProgress
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
    out.print(
        f"Next: posebench viz image.jpg --model {escape(str(run.folder))} --heatmaps",
        soft_wrap=True,
    )
