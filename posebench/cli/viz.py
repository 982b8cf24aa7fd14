"""`posebench viz`: draw the people that a model predicts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    DeviceOption,
    RunsOption,
    messages,
    out,
    progress_bar,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from posebench import Model, Skeleton
    from posebench.data.video import Video
    from posebench.structures import Poses, Sample
    from posebench.viz import RGB

# The model if nothing has been trained: the only recipe whose weights download without a login.
_BASELINE = "mask_rcnn_resnet50_coco"
# Suffixes of the files that can be written.
_PICTURE_SUFFIXES, _VIDEO_SUFFIXES = (".png", ".jpg", ".jpeg"), (".mp4",)


def viz(
    source: Annotated[
        str, typer.Argument(help="Image, folder of images, video, or camera number.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Run folder, checkpoint, or recipe whose weights can be downloaded (default: the "
            "newest trained run, else mask_rcnn_resnet50_coco)."
        ),
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also draw the heatmaps the poses were read from.")
    ] = False,
    steps: Annotated[
        bool,
        typer.Option(
            "--steps",
            help="Group Pose only: draw each keypoint query's path through the decoder, and the "
            "pixels that drive the person's score.",
        ),
    ] = False,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Annotation file: draw its ground truth next to the predictions."),
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out people below this score.")] = 0.1,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Output folder, or the file for one picture or video (default: a run folder).",
        ),
    ] = None,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
) -> None:
    """Draw the people a model predicts in images, in a video, or in a camera until Ctrl-C."""
    from posebench.data.video import is_video

    _check_options(is_video(source), heatmaps=heatmaps, steps=steps, annotations=annotations)
    if is_video(source):
        _draw_video(source, model, to, min_score, device, runs)
        return
    images = _find_images(source, to)
    loaded = _load_model(model, device, runs)
    folder = to or _run_folder(runs, loaded, Path(source).stem)
    to_file = _is_file(to, _PICTURE_SUFFIXES)
    targets = [folder if to_file else folder / f"{image.stem}.png" for image in images]
    truth = _annotated_people(annotations, loaded.skeleton) if annotations else {}

    def draw(sample: Sample) -> RGB:
        from posebench.viz import draw_sample, draw_steps

        if steps:
            return draw_steps(loaded, sample, min_score=min_score)
        return draw_sample(
            loaded, sample,
            truth=truth.get(sample.name), heatmaps=heatmaps, min_score=min_score,
        )  # fmt: skip

    _draw_images(images, targets, draw)
    out.print(escape(str(targets[0] if len(targets) == 1 else folder)), soft_wrap=True)


def _check_options(moving: bool, *, heatmaps: bool, steps: bool, annotations: Path | None) -> None:
    from posebench.errors import UsageError

    if moving and (heatmaps or annotations or steps):
        raise UsageError(
            "--heatmaps, --steps and --annotations are for images: leave them out for a video."
        )
    if steps and (heatmaps or annotations):
        raise UsageError("--steps draws a separate figure: leave out --heatmaps and --annotations.")


def _is_file(to: Path | None, suffixes: tuple[str, ...]) -> bool:
    """Return whether --out names the one file to write, and not a folder."""
    return to is not None and to.suffix.lower() in suffixes and not to.is_dir()


def _find_images(source: str, to: Path | None) -> list[Path]:
    """Return the images of a source.

    Raises:
        DataError: there are none.
        UsageError: --out names one picture of several, or would replace the images.
    """
    from posebench.data.image_files import find_images
    from posebench.errors import UsageError

    images = find_images(Path(source))
    if _is_file(to, _PICTURE_SUFFIXES) and len(images) > 1:
        raise UsageError(f"{to} is one picture of {len(images)}: name a folder with --out.")
    if to and to.resolve() in (images[0].parent.resolve(), images[0].resolve()):
        raise UsageError(
            f"{to} is where the images to draw are, which would be replaced: choose another --out."
        )
    return images


def _run_folder(runs: Path, model: Model, name: str) -> Path:
    from posebench.engine import new_run

    return new_run(runs, "viz", model.recipe.name, name)


def _load_model(name: str | None, device: str, runs: Path) -> Model:
    """Return the named model, else that of the newest trained run, else the baseline.

    Raises:
        ModelError: there is none, and the baseline's weights cannot be downloaded.
    """
    import posebench
    from posebench.engine import latest_run
    from posebench.errors import ModelError

    newest = name or latest_run(runs, "train")
    if newest:
        return posebench.load_model(newest, device=device)
    messages.print(f"No trained run under {escape(str(runs / 'train'))}; using {_BASELINE}.")
    try:
        return posebench.load_model(_BASELINE, device=device)
    except ModelError as error:
        raise ModelError(
            f"There is no trained run under {runs / 'train'} yet, and the weights of {_BASELINE} "
            "could not be downloaded: run `posebench demo` (ten minutes), name a run folder or "
            "checkpoint with --model, or connect to the network."
        ) from error


def _draw_images(images: list[Path], targets: list[Path], draw: Callable[[Sample], RGB]) -> None:
    from posebench.data.image_files import read_image
    from posebench.errors import DataError
    from posebench.structures import Sample
    from posebench.viz import write_image

    failed = 0
    with progress_bar() as bar:
        pairs = list(zip(images, targets, strict=True))
        for path, target in bar.track(pairs, description="draw"):
            try:
                image = read_image(path)
            except DataError as error:
                failed += 1
                messages.print(f"[yellow]skipped[/] {escape(str(error))}", soft_wrap=True)
                continue
            write_image(target, draw(Sample(image, name=path.name)))
    if failed == len(images):
        raise DataError(f"None of the {failed} images can be read; the first is {images[0]}.")
    if failed:
        messages.print(f"{failed} of {len(images)} images could not be read.")


def _draw_video(
    source: str, name: str | None, to: Path | None, min_score: float, device: str, runs: Path
) -> None:
    """Draw every frame; Ctrl-C ends the video with the frames that are done."""
    from posebench.data.video import open_video
    from posebench.errors import UsageError

    video = open_video(source)
    model = _load_model(name, device, runs)
    folder = to or _run_folder(runs, model, video.name)
    target = folder if _is_file(to, _VIDEO_SUFFIXES) else folder / f"{video.name}.mp4"
    if to and target.resolve() == Path(source).resolve():
        raise UsageError(f"The video would replace {source}: choose another --out.")
    _write_frames(video, model, target, min_score)
    out.print(escape(str(target)), soft_wrap=True)


def _write_frames(video: Video, model: Model, target: Path, min_score: float) -> None:
    from posebench.engine import interruptible
    from posebench.structures import Sample
    from posebench.viz import draw_sample, write_video

    start = time.perf_counter()
    with interruptible() as stop, progress_bar() as bar, write_video(target, video.fps) as file:
        task = bar.add_task("draw", total=video.length, note="")
        for frame in video:
            file.write(draw_sample(model, Sample(frame, name=video.name), min_score=min_score))
            rate = file.frames / (time.perf_counter() - start)
            bar.update(task, completed=file.frames, note=f"{rate:.1f} frames/s")
            if stop.is_set():
                break
    seconds = time.perf_counter() - start
    messages.print(
        f"{file.frames} frames in {seconds:.1f} s: {file.frames / seconds:.1f} frames/s."
    )
    if video.length and file.frames < video.length:
        why = "stopped" if stop.is_set() else "the file is cut short or damaged"
        messages.print(f"{video.length - file.frames} of {video.length} frames are missing: {why}.")


def _annotated_people(annotations: Path, skeleton: Skeleton) -> dict[str, Poses]:
    """Return the annotated people by file name."""
    from posebench.data.annotations import read_annotations
    from posebench.data.base import FileDataset
    from posebench.structures import Protocol

    # Areas are not drawn, so files without areas are accepted too.
    protocol = Protocol(skeleton, area_of_box=1.0)
    parsed = read_annotations(annotations, protocol)
    dataset = FileDataset("", "", protocol, annotations.parent, parsed)
    samples = (dataset.load(index, pixels=False) for index in range(len(dataset)))
    return {Path(sample.name).name: sample.poses for sample in samples}
