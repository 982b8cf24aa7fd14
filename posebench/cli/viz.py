"""`posebench viz`: draw the people that a model finds."""

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
    pick_device,
    progress_bar,
)

if TYPE_CHECKING:
    from posebench.data.video import Video
    from posebench.engine import Checkpoint
    from posebench.models import PoseModel
    from posebench.structures import Inference, Poses, Skeleton

# Draws where nothing has been trained: the one recipe whose published weights need no login.
_BASELINE = "mask_rcnn_resnet50_coco"
# Of files that can be written.
_PICTURE_SUFFIXES, _VIDEO_SUFFIXES = (".png", ".jpg", ".jpeg"), (".mp4",)


def viz(
    source: Annotated[
        str, typer.Argument(help="An image, a folder of images, a video, or a camera's number.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Run folder, checkpoint, or recipe whose weights can be downloaded [the newest "
            "trained run, else mask_rcnn_resnet50_coco]."
        ),
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also draw what the network looked at.")
    ] = False,
    steps: Annotated[
        bool,
        typer.Option(
            "--steps",
            help="Draw how queries came to the best people, and what their scores rest on.",
        ),
    ] = False,
    annotations: Annotated[
        Path | None, typer.Option(help="Annotation file; its people are drawn beside.")
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out people below this score.")] = 0.1,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder for the pictures, or the one picture or video [a run folder]."
        ),
    ] = None,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
) -> None:
    """Draw the people a model finds on images, on a video, or before a camera until Ctrl-C."""
    from posebench import engine
    from posebench.data.image_files import find_images
    from posebench.data.video import is_video, open_video
    from posebench.errors import UsageError

    moving = is_video(source)
    if moving and (heatmaps or annotations or steps):
        raise UsageError(
            "--heatmaps, --steps and --annotations are for images: leave them out for a video."
        )
    if steps and (heatmaps or annotations):
        raise UsageError("--steps makes a picture of its own: leave out the other options.")
    video = open_video(source) if moving else None
    images = [] if video else find_images(Path(source))
    suffixes = _VIDEO_SUFFIXES if moving else _PICTURE_SUFFIXES
    single = to if to and to.suffix.lower() in suffixes and not to.is_dir() else None
    if single and len(images) > 1:
        raise UsageError(f"{single} is one picture of {len(images)}: name a folder with --out.")
    if to and images and to.resolve() in (images[0].parent.resolve(), images[0].resolve()):
        raise UsageError(f"{to} has what is drawn, and would be replaced: choose another --out.")
    checkpoint = engine.find_model(model) if model else _newest(runs)
    network = engine.inference_model(checkpoint.model().to(pick_device(device)))
    name = video.name if video else Path(source).stem
    folder = to or engine.new_run(runs, "viz", checkpoint.recipe.name, name)
    if video:
        target = single or folder / f"{name}.mp4"
        if to and target.resolve() == Path(source).resolve():
            raise UsageError(f"The video would replace {source}: choose another --out.")
        _draw_video(network, video, target, checkpoint.recipe.inference, min_score)
        return
    truth = _truth(annotations, checkpoint.skeleton) if annotations else {}
    targets = [single or folder / f"{image.stem}.png" for image in images]
    _draw_images(
        network, images, targets, checkpoint.recipe.inference,
        truth=truth, heatmaps=heatmaps, steps=steps, min_score=min_score,
    )  # fmt: skip
    out.print(escape(str(targets[0] if len(targets) == 1 else folder)), soft_wrap=True)


def _newest(runs: Path) -> Checkpoint:
    """Return the newest trained run's checkpoint; where there is none, the baseline's.

    Raises:
        ModelError: there is none, and the baseline's weights cannot be downloaded.
    """
    from posebench import engine
    from posebench.errors import ModelError

    run = engine.latest_run(runs, "train")
    if run:
        return engine.read_checkpoint(run)
    messages.print(f"No trained run under {escape(str(runs / 'train'))}: {_BASELINE} draws.")
    try:
        return engine.find_model(_BASELINE)
    except ModelError as error:
        raise ModelError(
            f"There is no trained run under {runs / 'train'} yet, and the weights of {_BASELINE} "
            "could not be downloaded: run `posebench demo` (ten minutes), name a run folder or "
            "checkpoint with --model, or connect to the network."
        ) from error


def _draw_images(
    network: PoseModel,
    images: list[Path],
    targets: list[Path],
    inference: Inference,
    *,
    truth: dict[str, Poses],
    heatmaps: bool,
    steps: bool,
    min_score: float,
) -> None:
    from posebench.data.image_files import read_image
    from posebench.errors import DataError
    from posebench.structures import Poses, Sample
    from posebench.viz import draw_sample, draw_steps, write_image

    failed = 0
    with progress_bar() as bar:
        pairs = list(zip(images, targets, strict=True))
        for path, target in bar.track(pairs, description="draw"):
            try:
                image = read_image(path)
            except DataError as error:
                failed += 1
                messages.print(f"[yellow]left out[/] {escape(str(error))}", soft_wrap=True)
                continue
            sample = Sample(image, Poses.empty(len(network.skeleton)), 0, path.name)
            if steps:
                picture = draw_steps(network, sample, inference, min_score=min_score)
            else:
                picture = draw_sample(
                    network, sample, inference,
                    truth=truth.get(path.name), heatmaps=heatmaps, min_score=min_score,
                )  # fmt: skip
            write_image(target, picture)
    if failed == len(images):
        raise DataError(f"None of the {failed} images can be read; the first is {images[0]}.")
    if failed:
        messages.print(f"{failed} of {len(images)} images could not be read.")


def _draw_video(
    network: PoseModel, video: Video, target: Path, inference: Inference, min_score: float
) -> None:
    """Draw every frame; Ctrl-C ends the video with the frames that are done."""
    from posebench.engine import interruptible
    from posebench.structures import Poses, Sample
    from posebench.viz import draw_sample, write_video

    nobody = Poses.empty(len(network.skeleton))
    start = time.perf_counter()
    with interruptible() as stop, progress_bar() as bar, write_video(target, video.fps) as file:
        task = bar.add_task("draw", total=video.length, note="")
        for frame in video:
            sample = Sample(frame, nobody, 0, video.name)
            file.write(draw_sample(network, sample, inference, min_score=min_score))
            rate = file.frames / (time.perf_counter() - start)
            bar.update(task, completed=file.frames, note=f"{rate:.1f} frames a second")
            if stop.is_set():
                break
    seconds = time.perf_counter() - start
    messages.print(
        f"{file.frames} frames in {seconds:.1f} s: {file.frames / seconds:.1f} a second."
    )
    if video.length and file.frames < video.length:
        why = "stopped" if stop.is_set() else "the file is cut short or damaged"
        messages.print(f"{video.length - file.frames} of {video.length} frames are missing: {why}.")
    out.print(escape(str(target)), soft_wrap=True)


def _truth(annotations: Path, skeleton: Skeleton) -> dict[str, Poses]:
    """Return the annotated people by file name."""
    from posebench.data.annotations import read_annotations
    from posebench.data.base import FileDataset

    parsed = read_annotations(annotations, skeleton)
    dataset = FileDataset("", "", skeleton, annotations.parent, parsed)
    samples = (dataset.load(index, pixels=False) for index in range(len(dataset)))
    return {Path(sample.name).name: sample.poses for sample in samples}
