"""The part of `posebench viz` that draws videos and cameras."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from posebench.cli.common import messages, out, progress_bar, say
from posebench.cli.viz_model import find_model, run_folder
from posebench.cli.viz_options import VIDEO_SUFFIXES, is_file
from posebench.cli.viz_tally import Tally

if TYPE_CHECKING:
    from posebench.data.frames import FrameReader
    from posebench.engine import Predicting


def _draw_frames(
    reader: FrameReader,
    model: Predicting,
    target: Path,
    *,
    min_score: float | None,
    legend: bool,
    limit: int | None,
    track: bool,
) -> None:
    """Draw every frame, or the first ones; Ctrl-C ends the video with the frames that are done.

    Args:
        reader: of the frames of one video or camera.
        model: what finds the people.
        target: the file to write.
        min_score: people with a lower score are left out; None: below the model's own.
        legend: explain below each frame what is drawn.
        limit: draw so many frames at most; None: all.
        track: people keep a number and a colour.
    """
    from posebench.engine import interruptible
    from posebench.engine.prediction import Tracks, predict_frames
    from posebench.structures import Sample
    from posebench.viz import draw_sample, write_video

    video = reader.video
    assert video is not None  # a lone one
    tally = Tally(model, "frame", given=min_score is not None)
    least = model.draw_score if min_score is None else min_score
    tracks = Tracks(model.skeleton) if track else None
    length = video.length if limit is None else min(limit, video.length or limit)
    start = time.perf_counter()
    with (
        interruptible(reader.stop) as stop,
        progress_bar() as bar,
        write_video(target, video.fps) as file,
    ):
        task = bar.add_task("draw", total=length, note="")
        for one in islice(predict_frames(model, reader), limit):
            assert one.origin is not None and one.origin.image is not None
            sample = Sample(one.origin.image, name=video.name)
            numbers = tracks.add(one.at_least(least)).numbers if tracks else None
            drawing = draw_sample(
                model, sample,
                predictions=one.people, numbers=numbers, min_score=min_score, legend=legend,
            )  # fmt: skip
            timed = one.time_s is not None and not video.live
            file.write(drawing.image, 1000 * (one.time_s or 0.0) if timed else None)
            tally.add(drawing)
            rate = file.frames / (time.perf_counter() - start)
            bar.update(task, completed=file.frames, note=f"{rate:.1f} frames/s")
    seconds = time.perf_counter() - start
    messages.print(
        f"{file.frames} frames in {seconds:.1f} s: {file.frames / seconds:.1f} frames/s."
    )
    tally.report()
    if file.repeated:
        say(
            f"The frames are not evenly spaced: {file.repeated} repeated ones keep their times."
            + (f" {file.shortened} pauses are cut to a minute." if file.shortened else "")
        )
    if stop.is_set():
        missing = (length or 0) - file.frames
        if missing > 0:
            messages.print(f"{missing} of {length} frames are missing: stopped.")
    else:
        for notice in reader.notices:
            say(notice)


def draw_video(
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
        model = find_model(name, device, runs, backend)
        folder = to or run_folder(runs, model, reader.video.name)
        target = folder if is_file(to, VIDEO_SUFFIXES) else folder / f"{reader.video.name}.mp4"
        if to and target.resolve() == Path(source).resolve():
            raise UsageError(f"The video would replace {source}: choose another --out.")
        _draw_frames(
            reader, model, target, min_score=min_score, legend=legend, limit=limit, track=track
        )
    finally:
        reader.close()
    out.print(escape(str(target)), soft_wrap=True)
