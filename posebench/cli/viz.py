"""`posebench viz`: draw the people that a model predicts."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    BackendOption,
    CategoryOption,
    DeviceOption,
    ExifOption,
    JsonOption,
    LimitOption,
    RunsOption,
    messages,
    out,
    print_rows,
    progress_bar,
    read_upright,
    to_either,
)
from posebench.cli.viz_reading import Reading, say
from posebench.cli.viz_tally import Tally, count_of
from posebench.cli.viz_video import draw_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from posebench.data.frames import Frame, FrameReader
    from posebench.data.image_sources import SourceImage
    from posebench.engine import Predicting
    from posebench.structures import PosePredictions, Poses, Sample
    from posebench.viz import Drawing

# The model if nothing was trained on real images: the only recipe whose weights download without a
# login.
_BASELINE = "mask_rcnn_resnet50_coco"
# Suffixes of the files that can be written.
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
# What looks like the ending of a file, and not like the end of a folder's name (run.2, run.v2).
_FILE_ENDING = re.compile(r"\.(?!v\d+$)[a-z][a-z0-9]{1,4}$", re.IGNORECASE)


def viz(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Images, folders of images, patterns ('photos/**/*.jpg'), and .txt lists with a "
            "path in each line; or one video or animated GIF, or the number of a camera.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Run folder, checkpoint, recipe with weights, such as cid_tiny, or predictor of a "
            "plugin (default: the "
            f"newest run that was not trained on synthetic images, else {_BASELINE})."
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Also draw the images in sub-folders.")
    ] = False,
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
    category: CategoryOption = None,
    exif: ExifOption = "upright",
    legend: Annotated[
        bool,
        typer.Option("--legend", help="Explain colors, lines and discs below each picture."),
    ] = False,
    min_score: Annotated[
        float | None,
        typer.Option(help="Leave out people below this score (default: what suits the method)."),
    ] = None,
    track: Annotated[
        bool, typer.Option("--track", help="Videos: let people keep a number and a color.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            callback=to_either,
            help="Output folder, or the file for one picture (.png, .jpg) or video (.mp4, .mkv, "
            ".webm, .mov, .avi) (default: a run folder).",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print the number of people on each image.")
    ] = False,
    limit: LimitOption = None,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    backend: BackendOption = "torch",
    runs: RunsOption = Path("runs"),
) -> None:
    """Draw the people a model predicts in images, in a video, or in a camera until Ctrl-C."""
    moving = _is_moving(sources)
    _check_options(
        moving, heatmaps=heatmaps, steps=steps, annotations=annotations, category=category
    )
    _check_video_options(moving, sources, recursive=recursive, verbose=verbose, as_json=as_json)
    _check_track(track, moving)
    _check_out(to, moving)
    if moving:
        _draw_video(
            sources[0], model, to, device, runs, backend,
            min_score=min_score, legend=legend, limit=limit, track=track,
        )  # fmt: skip
        return
    images = _find_images(sources, to, runs, recursive=recursive)[:limit]
    reading = Reading([image.path for image in images], upright=read_upright(exif))
    loaded = _load_model(model, device, runs, backend)
    first = Path(sources[0])
    label = first.resolve().stem if first.exists() else "images"
    folder = to or _run_folder(runs, loaded, label)
    targets = _targets(images, folder, to)
    if annotations:
        reading.add_truth(annotations, loaded.skeleton, category or ())

    def draw(sample: Sample, truth: Poses | None, found: PosePredictions | None) -> Drawing:
        from posebench.viz import draw_sample, draw_steps

        if steps:
            return draw_steps(loaded, sample, min_score=min_score, legend=legend)
        return draw_sample(
            loaded, sample,
            predictions=found, truth=truth, heatmaps=heatmaps, min_score=min_score, legend=legend,
        )  # fmt: skip

    tally = Tally(loaded, "image", given=min_score is not None)
    explained = heatmaps or steps  # which takes a forward pass of its own
    with closing(_open(images, reading)) as reader:
        drawn = _draw_images(reader, None if explained else loaded, reading, draw, targets, tally)
        for path, drawing in drawn:
            if verbose:
                say(_line(path, drawing))
    tally.report()
    if as_json:
        print_rows(tally.rows)
    else:
        out.print(escape(str(targets[0] if len(targets) == 1 else folder)), soft_wrap=True)


def _is_moving(sources: Sequence[str]) -> bool:
    """Return whether there is a video; an animated picture is one if it is the only source."""
    from posebench.data.image_files import is_image_name
    from posebench.data.video import is_video

    if len(sources) == 1:
        return is_video(sources[0])
    return any(is_video(source) for source in sources if not is_image_name(Path(source)))


def _check_options(
    moving: bool,
    *,
    heatmaps: bool,
    steps: bool,
    annotations: Path | None,
    category: list[str] | None,
) -> None:
    from posebench.errors import UsageError

    if moving and (heatmaps or annotations or steps):
        raise UsageError(
            "--heatmaps, --steps and --annotations are for images: leave them out for a video."
        )
    if steps and (heatmaps or annotations):
        raise UsageError("--steps draws a separate figure: leave out --heatmaps and --annotations.")
    if category and not annotations:
        raise UsageError("--category chooses from the file of --annotations: name that too.")


def _check_track(track: bool, moving: bool) -> None:
    from posebench.errors import UsageError

    if track and not moving:
        raise UsageError("--track follows people through a video: leave it out for images.")


def _check_out(to: Path | None, moving: bool) -> None:
    """Refuse a file name that cannot be written, so that no folder of that name is made."""
    from posebench.errors import UsageError

    own = _VIDEO_SUFFIXES if moving else _PICTURE_SUFFIXES
    if to is None or to.is_dir() or to.suffix.lower() in own or not _FILE_ENDING.search(to.name):
        return
    what = "A video" if moving else "A picture"
    raise UsageError(
        f"{what} is written to a file that ends in {', '.join(own)}, or into a folder, but --out "
        f"is {to}: choose such an ending, or make the folder {to} first."
    )


def _is_file(to: Path | None, suffixes: tuple[str, ...]) -> bool:
    """Return whether --out names the one file to write, and not a folder."""
    return to is not None and to.suffix.lower() in suffixes and not to.is_dir()


def _check_video_options(
    moving: bool, sources: Sequence[str], *, recursive: bool, verbose: bool, as_json: bool
) -> None:
    from posebench.errors import UsageError

    if moving and len(sources) > 1:
        raise UsageError(
            f"A video or a camera is drawn alone, but found {len(sources)} sources: run viz once "
            "for each."
        )
    if moving and (recursive or verbose or as_json):
        raise UsageError(
            "--recursive, --verbose and --json are for images: leave them out for a video."
        )


def _find_images(
    sources: Sequence[str], to: Path | None, runs: Path, *, recursive: bool
) -> list[SourceImage]:
    """Return the images of all sources, without earlier pictures.

    Raises:
        DataError: there are none.
        UsageError: --out names one picture of several, or would replace the images.
    """
    from posebench.data.image_sources import collect_images, left_out
    from posebench.errors import UsageError

    to_file = _is_file(to, _PICTURE_SUFFIXES)
    earlier = [runs / "viz", *([to] if to and not to_file else [])]
    images = collect_images(sources, recursive=recursive, excluded=earlier)
    if to_file and len(images) > 1:
        raise UsageError(f"{to} is one picture of {len(images)}: name a folder with --out.")
    if to and to.resolve() in {image.path.resolve().parent for image in images}:
        raise UsageError(
            f"{to} is where the images to draw are, which would be replaced: choose another --out."
        )
    for sentence in left_out(sources, recursive=recursive):
        say(sentence)
    return images


def _targets(images: Sequence[SourceImage], folder: Path, to: Path | None) -> list[Path]:
    """Return the file of each image's picture.

    Raises:
        UsageError: one is an image that is to be drawn.
    """
    from posebench.data.image_sources import picture_names
    from posebench.errors import UsageError

    if _is_file(to, _PICTURE_SUFFIXES):
        targets = [folder]
    else:
        targets = [folder / name for name in picture_names(images)]
    replaced = {image.path.resolve() for image in images} & {path.resolve() for path in targets}
    if replaced:
        raise UsageError(
            f"The picture would replace the image {sorted(replaced)[0]}: choose another --out."
        )
    return targets


def _run_folder(runs: Path, model: Predicting, name: str) -> Path:
    from posebench.engine import new_run

    return new_run(runs, "viz", model.name, name)


def _load_model(name: str | None, device: str, runs: Path, backend: str = "torch") -> Predicting:
    """Return the named model, else that of the newest run on real images, else the baseline.

    Raises:
        ModelError: there is none, and the baseline's weights cannot be downloaded.
    """
    import posebench
    from posebench.engine import find_predictor, latest_run, trained_on
    from posebench.errors import ModelError

    if predictor := find_predictor(name):
        return predictor
    if name:
        return posebench.load_model(name, device=device, backend=backend)
    newest = latest_run(runs, "train", accepts=lambda run: trained_on(run) != "synthetic")
    if newest:
        return posebench.load_model(newest, device=device, backend=backend)
    trained = f"No run under {runs / 'train'} was trained on real images"
    messages.print(escape(f"{trained}; using {_BASELINE}."), soft_wrap=True)
    try:
        return posebench.load_model(_BASELINE, device=device, backend=backend)
    except ModelError as error:
        raise ModelError(
            f"{trained}, and the weights of {_BASELINE} could not be downloaded: for synthetic "
            "people take --model cid_tiny, which comes with posebench; for photographs name a "
            "checkpoint with --model (`posebench weights import` converts published ones), train "
            "on a dataset (`posebench train cid --dataset coco`), or connect to the network."
        ) from error


def _open(images: Sequence[SourceImage], reading: Reading) -> FrameReader:
    from posebench.data.frames import FrameReader, Source

    sources = [Source("image", str(image.path), image.base) for image in images]
    return FrameReader(sources, decode=reading.pixels)


def _draw_images(
    reader: FrameReader,
    model: Predicting | None,
    reading: Reading,
    draw: Callable[[Sample, Poses | None, PosePredictions | None], Drawing],
    targets: Sequence[Path],
    tally: Tally,
) -> Iterator[tuple[Path, Drawing]]:
    """Draw the images that can be read, and yield each; without a model, `draw` predicts itself."""
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


def _line(path: Path, drawing: Drawing) -> str:
    best = "" if drawing.best_score is None else f", best score {drawing.best_score:.3g}"
    return f"{path}: {count_of(drawing.people)}{best}"


def _draw_video(
    source: str,
    name: str | None,
    to: Path | None,
    device: str,
    runs: Path,
    backend: str,
    *,
    min_score: float | None,
    legend: bool,
    limit: int | None,
    track: bool,
) -> None:
    """Draw every frame, or the first ones; Ctrl-C ends the video with the frames that are done."""
    from posebench.data.frames import FrameReader, Source
    from posebench.data.video import is_camera
    from posebench.errors import UsageError

    reader = FrameReader([Source("camera" if is_camera(source) else "video", source)])
    try:
        assert reader.video is not None  # a lone one
        model = _load_model(name, device, runs, backend)
        folder = to or _run_folder(runs, model, reader.video.name)
        target = folder if _is_file(to, _VIDEO_SUFFIXES) else folder / f"{reader.video.name}.mp4"
        if to and target.resolve() == Path(source).resolve():
            raise UsageError(f"The video would replace {source}: choose another --out.")
        draw_frames(
            reader, model, target, min_score=min_score, legend=legend, limit=limit, track=track
        )
    finally:
        reader.close()
    out.print(escape(str(target)), soft_wrap=True)
