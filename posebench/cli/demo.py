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
    from collections.abc import Sequence

    import pandas as pd

    from posebench.bench.demo import Demo

_PICTURES = 12
_IMAGES, _EPOCHS = 150, 3


def demo(
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Instead train cid_tiny, evaluate it and draw its predictions.",
        ),
    ] = False,
    images: Annotated[
        int | None,
        typer.Option(min=2, help=f"Number of synthetic images to compare on (default: {_IMAGES})."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"With --train: epochs (default: {_EPOCHS}, about ten minutes on two cores).",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Random seed: of the images; with --train of initial weights, image order and "
            "augmentation."
        ),
    ] = 0,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Compare the models that come with the package on the same synthetic crowds.

    Evaluates and times them in turns, prints one table, and writes an HTML
    report with pictures of what each of them sees: two minutes on two cores.
    Needs no data and no network.
    """
    _check_options(train, images, epochs, workers, json=json)
    if train:
        _train(epochs or _EPOCHS, seed, device, workers, runs)
    else:
        _compare(images or _IMAGES, seed, device, runs, json=json)


def _check_options(
    train: bool, images: int | None, epochs: int | None, workers: int | None, *, json: bool
) -> None:
    """Refuse options of the other demo, which would have no effect."""
    from posebench.errors import UsageError

    if train and (images is not None or json):
        option = "--json" if images is None else "--images"
        raise UsageError(f"{option} belongs to the comparison: leave out {option} or --train.")
    if not train and epochs is not None:
        raise UsageError(
            f"--epochs belongs to the demo that trains: posebench demo --train --epochs {epochs}"
        )
    if not train and workers is not None:
        raise UsageError("--workers belongs to the demo that trains: add --train or leave it out.")


def _compare(images: int, seed: int, device: str, runs: Path, *, json: bool) -> None:
    from posebench.bench.demo import demo_images, run_demo
    from posebench.engine import new_run, pick_device
    from posebench.shipped import shipped_names

    place = pick_device(device)
    dataset = demo_images(images, seed)
    names = shipped_names()
    run = new_run(runs, "demo", "comparison", dataset.name)
    messages.print(
        f"Comparing {len(names)} models on {images} synthetic crowds, in turns: {escape(str(run))}",
        soft_wrap=True,
    )
    with progress_bar() as bar:
        task = bar.add_task("demo", total=images * len(names), note="")
        compared = run_demo(
            names,
            dataset,
            device=str(place),
            on_progress=lambda what, done, total: bar.update(task, completed=done, note=what),
        )
    notes = _notes(compared.rows)
    report = _write(compared, notes, run)
    if json:
        print_rows(compared.rows)
    else:
        _print(compared.rows, notes)
    messages.print(f"Report with pictures: {escape(str(report))}", soft_wrap=True)
    messages.print("These models know synthetic people, not photographs. To draw with one of them:")
    messages.print(f"posebench viz image.jpg --model {compared.rows['model'][0]}", soft_wrap=True)


def _notes(rows: pd.DataFrame) -> list[str]:
    """Return the sentences that explain the table."""
    from posebench.version import package_version

    first = rows.iloc[0]
    pairs = len(rows) * (len(rows) - 1) // 2
    mirrored = ", ".join(rows["model"][rows["tta"] == "flip"]) or "none of them"
    commit = f" ({first['commit']})" if first["commit"] else ""
    return [
        "Models that share a letter do not differ significantly in AP (paired permutation test "
        f"over images, 5 %, Holm over {pairs} {'pair' if pairs == 1 else 'pairs'}).",
        f"AP in %, with its 95 % interval, on {first['images']} synthetic images (seed "
        f"{first['seed']}) that none of the models was trained on. Each was trained once.",
        "ms and FPS: median of an image, from pixels to people. Some recipes merge the mirrored "
        f"image, which doubles the time: {mirrored}.",
        "M par.: million parameters. GMACs: one forward pass. MB: weights and peak memory of one "
        "image.",
        f"Measured on {first['hardware']}, {first['date']}, posebench {package_version()}{commit}.",
    ]


def _write(compared: Demo, notes: Sequence[str], run: Path) -> Path:
    """Write the rows, the pictures and the page, and return the page's path."""
    from posebench.files import atomic_write
    from posebench.viz import write_image
    from posebench.viz.demo_report import comparison_picture, crowd_picture, demo_page

    crowds = [crowd_picture(crowd) for crowd in compared.crowds]
    plot = comparison_picture(compared.rows)
    write_image(run / "crowd.png", crowds[0])
    write_image(run / "comparison.png", plot)
    with atomic_write(run / "comparison.csv") as beside:
        compared.rows.to_csv(beside, index=False)
    report = run / "report.html"
    with atomic_write(report) as beside:
        beside.write_text(demo_page(compared.rows, plot, crowds, notes), encoding="utf-8")
    return report


def _print(rows: pd.DataFrame, notes: Sequence[str]) -> None:
    from posebench.cli.columns import Column, print_columns
    from posebench.viz.demo_report import COLUMNS, cells

    lines = [cells(row) for _, row in rows.iterrows()]
    print_columns(
        [
            Column(column.header, [line[i] for line in lines], column.numeric)
            for i, column in enumerate(COLUMNS)
        ],
        "The report has all columns.",
    )
    out.print()
    for note in notes:
        out.print(escape(note))


def _train(epochs: int, seed: int, device: str, workers: int | None, runs: Path) -> None:
    """Train cid_tiny on synthetic crowds, evaluate it and draw its predictions."""
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
    title = "cid_tiny on images it was not trained on"
    print_metrics(title, run.evaluation, interval=run.interval)
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
