"""The part of `posebench viz` that draws images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from posebench.cli.common import count_of, messages, progress_bar, say
from posebench.cli.viz_options import PICTURE_SUFFIXES, is_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from posebench.cli.viz_reading import Reading
    from posebench.cli.viz_tally import Tally
    from posebench.data.frames import Frame, FrameReader
    from posebench.data.image_sources import SourceImage
    from posebench.engine import Predicting
    from posebench.structures import PosePredictions, Poses, Sample
    from posebench.viz import Drawing


def find_images(
    sources: Sequence[str], to: Path | None, runs: Path, *, recursive: bool
) -> list[SourceImage]:
    """Return the images of all sources, without earlier pictures.

    Raises:
        DataError: no images were found.
        UsageError: --out names one picture of several, or would replace the images.
    """
    from posebench.data.image_sources import collect_images, left_out, real
    from posebench.errors import UsageError

    to_file = is_file(to, PICTURE_SUFFIXES)
    earlier = [runs / "viz", *([to] if to and not to_file else [])]
    images = collect_images(sources, recursive=recursive, excluded=earlier)
    if to_file and len(images) > 1:
        raise UsageError(f"{to} is one picture of {len(images)}: name a folder with --out.")
    if to and real(to) in {real(image.path).parent for image in images}:
        raise UsageError(
            f"{to} is where the images to draw are, which would be replaced: choose another --out."
        )
    for sentence in left_out(sources, recursive=recursive):
        say(sentence)
    return images


def targets_of(images: Sequence[SourceImage], folder: Path, to: Path | None) -> list[Path]:
    """Return the file of each image's picture.

    Raises:
        UsageError: one is an image that is to be drawn.
    """
    from posebench.data.image_sources import picture_names, real
    from posebench.errors import UsageError

    if is_file(to, PICTURE_SUFFIXES):
        targets = [folder]
    else:
        targets = [folder / name for name in picture_names(images)]
    replaced = {real(image.path) for image in images} & set(map(real, targets))
    if replaced:
        raise UsageError(
            f"The picture would replace the image {sorted(replaced)[0]}: choose another --out."
        )
    return targets


def open_images(images: Sequence[SourceImage], reading: Reading) -> FrameReader:
    """Return the reader of images."""
    from posebench.data.frames import FrameReader, Source

    sources = [Source("image", str(image.path), image.base) for image in images]
    return FrameReader(sources, decode=reading.pixels)


def draw_images(
    reader: FrameReader,
    model: Predicting | None,
    reading: Reading,
    draw: Callable[[Sample, Poses | None, PosePredictions | None], Drawing],
    targets: Sequence[Path],
    tally: Tally,
) -> Iterator[tuple[Path, Drawing]]:
    """Draw the images that can be read, and yield each; without a model, `draw` predicts itself.

    Raises:
        DataError: none can be read.
    """
    from posebench.engine.prediction import predict_frames
    from posebench.errors import DataError
    from posebench.structures import Sample
    from posebench.viz import write_image

    failed: list[DataError] = []
    stream: Iterator[tuple[Frame, PosePredictions | None]]
    if model:
        stream = ((one.frame_read, one.people) for one in predict_frames(model, reader))
    else:
        stream = ((frame, None) for batch in reader.batches(1) for frame in batch)
    with progress_bar() as bar:
        pairs = zip(stream, targets, strict=True)
        for (frame, people), target in bar.track(pairs, total=len(targets), description="draw"):
            path = frame.source.path
            if frame.image is None:
                assert frame.error is not None
                failed.append(frame.error)
                if len(targets) > 1:
                    messages.print(f"[yellow]skipped[/] {escape(str(frame.error))}", soft_wrap=True)
                continue
            sample = Sample(frame.image, name=path.name)
            drawing = draw(sample, reading.truth(path, frame.image), people)
            write_image(target, drawing.image)
            tally.add_image(path, target, drawing)
            yield path, drawing
    if len(targets) == 1 and failed:
        raise failed[0]
    if len(failed) == len(targets):
        raise DataError(
            f"None of the {len(failed)} images can be read; the first is {reading.paths[0]}."
        )
    if failed:
        messages.print(f"{len(failed)} of {len(targets)} images could not be read.")
    reading.report()


def line_of(path: Path, drawing: Drawing) -> str:
    """Return what `--verbose` says of an image."""
    best = "" if drawing.best_score is None else f", best score {drawing.best_score:.3g}"
    return f"{path}: {count_of(drawing.people)}{best}"
