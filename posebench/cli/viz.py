"""`posebench viz`: draw the people that a model finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    DeviceOption,
    RunsOption,
    messages,
    out,
    pick_device,
    progress_bar,
)

if TYPE_CHECKING:
    from posebench.structures import Poses


def viz(
    source: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    model: Annotated[
        Path | None, typer.Option(help="Run folder or checkpoint [the newest trained run].")
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also draw what the network looked at.")
    ] = False,
    annotations: Annotated[
        Path | None, typer.Option(help="Annotation file; its people are drawn beside.")
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out people below this score.")] = 0.1,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder for the pictures [a run folder].")
    ] = None,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
) -> None:
    """Draw the people a model finds on an image or on all images of a folder."""
    from posebench import engine
    from posebench.data.image_files import find_images, read_image
    from posebench.errors import DataError, ModelError, UsageError
    from posebench.structures import Poses, Sample
    from posebench.viz import draw_sample, write_image

    place = model or engine.latest_run(runs, "train")
    if place is None:
        raise ModelError(
            f"There is no trained run under {runs / 'train'} yet: run `posebench demo` (ten "
            "minutes), or name a run folder or checkpoint with --model."
        )
    images = find_images(source)
    if to and to.resolve() == images[0].parent.resolve():
        raise UsageError(f"The pictures would replace the images in {to}: choose another --out.")
    checkpoint = engine.read_checkpoint(place)
    network = checkpoint.model().to(pick_device(device))
    truth = _truth(annotations, checkpoint) if annotations else {}
    folder = to or engine.new_run(runs, "viz", checkpoint.recipe.name, source.stem)
    failed = 0
    with progress_bar() as bar:
        for path in bar.track(images, description="draw"):
            try:
                image = read_image(path)
            except DataError as error:
                failed += 1
                messages.print(f"[yellow]left out[/] {escape(str(error))}", soft_wrap=True)
                continue
            sample = Sample(image, Poses.empty(len(network.skeleton)), 0, path.name)
            picture = draw_sample(
                network, sample, checkpoint.recipe.test_time,
                truth=truth.get(path.name), heatmaps=heatmaps, min_score=min_score,
            )  # fmt: skip
            write_image(folder / f"{path.stem}.png", picture)
    if failed == len(images):
        raise DataError(f"None of the {failed} images of {source} can be read.")
    if failed:
        messages.print(f"{failed} of {len(images)} images could not be read.")
    written = folder / f"{images[0].stem}.png" if len(images) == 1 else folder
    out.print(escape(str(written)), soft_wrap=True)


def _truth(annotations: Path, checkpoint: object) -> dict[str, Poses]:
    """Return the annotated people by file name."""
    from posebench.data.annotations import read_annotations
    from posebench.data.base import FileDataset
    from posebench.engine import Checkpoint

    assert isinstance(checkpoint, Checkpoint)
    skeleton = checkpoint.skeleton
    parsed = read_annotations(annotations, skeleton)
    dataset = FileDataset("", "", skeleton, annotations.parent, parsed)
    samples = (dataset.load(index, pixels=False) for index in range(len(dataset)))
    return {Path(sample.name).name: sample.poses for sample in samples}
