"""`posebench viz`: draw the people that a model predicts."""

from __future__ import annotations

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
    out,
    print_rows,
    read_upright,
    say,
    to_either,
)
from posebench.cli.viz_images import draw_images, find_images, line_of, open_images, targets_of
from posebench.cli.viz_model import BASELINE, find_model, run_folder
from posebench.cli.viz_options import (
    check_options,
    check_out,
    check_track,
    check_video_options,
    is_moving,
)
from posebench.cli.viz_reading import Reading
from posebench.cli.viz_tally import Tally
from posebench.cli.viz_video import draw_video

if TYPE_CHECKING:
    from posebench.structures import PosePredictions, Poses, Sample
    from posebench.viz import Drawing


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
            f"newest run that was not trained on synthetic images, else {BASELINE})."
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
    moving = is_moving(sources)
    check_options(
        moving, heatmaps=heatmaps, steps=steps, annotations=annotations, category=category
    )
    check_video_options(moving, sources, recursive=recursive, verbose=verbose, as_json=as_json)
    check_track(track, moving)
    check_out(to, moving)
    if moving:
        draw_video(
            sources[0], model, to, device, runs, backend,
            min_score=min_score, legend=legend, limit=limit, track=track,
        )  # fmt: skip
        return
    images = find_images(sources, to, runs, recursive=recursive)[:limit]
    reading = Reading([image.path for image in images], upright=read_upright(exif))
    loaded = find_model(model, device, runs, backend)
    first = Path(sources[0])
    label = first.resolve().stem if first.exists() else "images"
    folder = to or run_folder(runs, loaded, label)
    targets = targets_of(images, folder, to)
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
    with closing(open_images(images, reading)) as reader:
        drawn = draw_images(reader, None if explained else loaded, reading, draw, targets, tally)
        for path, drawing in drawn:
            if verbose:
                say(line_of(path, drawing))
    tally.report()
    if as_json:
        print_rows(tally.rows)
    else:
        out.print(escape(str(targets[0] if len(targets) == 1 else folder)), soft_wrap=True)
