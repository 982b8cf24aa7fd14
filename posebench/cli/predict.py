"""`posebench predict`: the people of images, films, cameras and streams, as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    BackendOption,
    DeviceOption,
    StrictOption,
    count_of,
    messages,
    out,
    progress_bar,
    say,
    to_either,
)
from posebench.cli.stopping import continues

if TYPE_CHECKING:
    from posebench.api.prediction import Prediction


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Run folder, checkpoint, exported file (.onnx, .xml, .pt2), recipe with weights, "
            "such as cid_tiny, or predictor of a plugin.",
        ),
    ],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Images, videos, folders of them, patterns ('photos/**/*.jpg'), .txt lists with a "
            "path in each line, numbers of cameras, and addresses (rtsp://..., http://...).",
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(
            "--out",
            callback=to_either,
            help="File for the results: .json (COCO results), .jsonl (a line for each image or "
            "frame), .csv or .parquet (a row for each person); or a folder, which gets "
            "predictions.jsonl.",
        ),
    ],
    track: Annotated[
        bool,
        typer.Option("--track", help="Give people a number that they keep from frame to frame."),
    ] = False,
    smooth: Annotated[
        bool,
        typer.Option("--smooth", help="With --track: calm the keypoints (One Euro filter)."),
    ] = False,
    save_images: Annotated[
        bool,
        typer.Option(
            "--save-images",
            help="Also write a picture of each image and frame with its people, into the folder "
            "`images` of the output folder, or beside the file.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the stopped run that wrote --out, where it was."),
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Also take the files in sub-folders.")
    ] = False,
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Leave out people below this score (default: what suits the method; COCO results "
            "without --track have everybody, since AP counts them)."
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images per forward pass (default: 1 on a CPU, 8 on a GPU)."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Take this many images and frames at most, the first ones."),
    ] = None,
    reopen: Annotated[
        int,
        typer.Option(min=0, help="How many times in a row a stream that breaks is opened again."),
    ] = 5,
    strict: StrictOption = False,
    device: DeviceOption = "auto",
    backend: BackendOption = "torch",
) -> None:
    """Write the people of images, videos, cameras and streams to a file."""
    from posebench.api.prediction import Prediction

    run = Prediction.begin(
        model, sources, out=to, resume=resume, save_images=save_images, track=track, smooth=smooth,
        min_score=min_score, batch_size=batch_size, limit=limit, recursive=recursive,
        strict=strict, reopen=reopen, device=device, backend=backend,
    )  # fmt: skip
    with continues(f"Stopped; what is done is in {run.out}.", "--resume"):
        _run(run)
    out.print(escape(str(run.out)), soft_wrap=True)


def _run(run: Prediction) -> None:
    from posebench.engine import interruptible
    from posebench.errors import DataError, Interrupted

    frames = people = failed = 0
    start = time.perf_counter()
    with interruptible(run.stop), progress_bar() as bar:
        task = bar.add_task("predict", total=run.length, completed=run.continued, note="")
        for one in run:
            frames += 1
            people += len(one.people)
            if one.error:
                failed += 1
                messages.print(f"[yellow]skipped[/] {escape(one.error)}", soft_wrap=True)
            rate = frames / (time.perf_counter() - start)
            bar.update(task, completed=run.continued + frames, note=f"{rate:.1f} frames/s")
    seconds = time.perf_counter() - start
    if run.continued:
        say(f"Continued after {run.count_of(run.continued)}.")
    say(
        f"{run.model.name} ({run.model.source}) found {count_of(people)} on "
        f"{run.count_of(frames)} in {seconds:.1f} s: {frames / seconds:.1f} a second."
    )
    for notice in run.reader.notices:
        say(notice)
    if run.reader.dropped:
        say(f"{run.reader.dropped} frames came while others were computed, and were left out.")
    if failed:
        say(f"{failed} of {run.count_of(frames)} could not be read.")
    if run.images:
        say(f"Pictures are in {run.images}.")
    if not run.complete:
        raise Interrupted("Stopped.")
    if failed and failed == frames and not run.continued:
        raise DataError(f"None of {run.count_of(frames)} can be read: see the messages above.")
