"""People in images, films, cameras and streams: as a stream of predictions, and as files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from posebench.api.models import load_model
from posebench.api.prediction_files import (
    PredictOptions,
    check_replaces_nothing,
    image_ids,
    picture_folder,
    picture_names_of,
    request_of,
    results_file,
)
from posebench.errors import DataError, UsageError

if TYPE_CHECKING:
    from posebench.data.frames import Frame, FrameReader, Source
    from posebench.engine import Model, Predicting, Predictor
    from posebench.engine.prediction import FramePrediction, PredictionFile, Tracks
    from posebench.engine.prediction.output import Progress

Sources = str | Path | Sequence[str | Path]

_AHEAD = 2  # batches that wait, decoded, for the network


class Keywords(TypedDict, total=False):
    """What `predict` takes besides, as it explains."""

    out: str | Path | None
    resume: bool
    save_images: bool
    track: bool
    smooth: bool
    min_score: float | None
    batch_size: int | None
    limit: int | None
    recursive: bool
    strict: bool
    reopen: int
    device: str
    backend: str


@overload
def predict(
    model: str | Path | Model | Predictor,
    sources: Sources,
    *,
    stream: Literal[True],
    **options: Unpack[Keywords],
) -> Iterator[FramePrediction]: ...
@overload
def predict(
    model: str | Path | Model | Predictor,
    sources: Sources,
    *,
    stream: Literal[False] = False,
    **options: Unpack[Keywords],
) -> list[FramePrediction]: ...


def predict(
    model: str | Path | Model | Predictor,
    sources: Sources,
    *,
    stream: bool = False,
    **options: Unpack[Keywords],
) -> Iterator[FramePrediction] | list[FramePrediction]:
    """Return the people of images, films, cameras and streams, frame by frame.

        for one in posebench.predict("cid_tiny", "film.mp4", stream=True, track=True):
            print(one.time_s, one.numbers, one.people.keypoints)

    Args:
        model: what `load_model` takes or returns, or a predictor or its name.
        sources: one or several of: files, folders, patterns, `.txt` lists of paths, numbers of
            cameras, addresses (`rtsp://...`, `http://...`).
        stream: return an iterator, which needs constant memory; else a list without pixels.
        out: also write the results to this file (.json: COCO results, .jsonl, .csv, .parquet), or
            as predictions.jsonl into this folder.
        resume: continue the stopped run that wrote `out`.
        save_images: also write a picture of each image and frame with its people.
        track: people keep a number from frame to frame, in `numbers`.
        smooth: calm the keypoints of people who are tracked (One Euro filter).
        min_score: people with a lower score are left out; None: below the method's `draw_score`,
            but nobody in COCO results without tracks, since AP counts everybody.
        batch_size: images per forward pass; None: 1 on a CPU, 8 on a GPU.
        limit: take this many images and frames at most, the first ones.
        recursive: also take the files in sub-folders.
        strict: stop at the first image that cannot be read; else its prediction has an `error`.
        reopen: how many times in a row a live stream that breaks is opened again.
        device: of a model that is loaded: `auto`, `cpu`, `cuda` or `cuda:N`.
        backend: of a model that is loaded, as for `load_model`.

    Raises:
        UsageError: an option does not fit, another run is writing `out`, or `out` holds a stopped
            run and `resume` is False.
        DataError: there is nothing at a source, a lone one cannot be read, or a stream stays away.
        ModelError: there is no such model.
        UnsupportedError: the library that writes the file is not installed.
    """
    prediction = Prediction.begin(model, sources, **options)
    if stream:
        return iter(prediction)
    return [replace(one, origin=None) for one in prediction]


class Prediction:
    """A run of `predict`; iterating computes it, and what was iterated over is written."""

    def __init__(
        self, model: Predicting, sources: Sequence[Source], options: PredictOptions,
        out: Path | None, images: Path | None, *, resume: bool,
    ) -> None:  # fmt: skip
        self.model, self.out, self.images, self.options = model, out, images, options
        self.continued = 0  # frames that an earlier run has done
        self.complete = False
        self._sources = sources
        self._last: Frame | None = None  # that was predicted
        self._stop = Event()
        self._results, progress = self._open_results(resume=resume)
        self._tracks = self._open_tracks(progress)
        self.reader = self._open_reader(progress)

    @classmethod
    def begin(
        cls, model: str | Path | Model | Predictor, sources: Sources, *,
        out: str | Path | None = None, resume: bool = False, save_images: bool = False,
        track: bool = False, smooth: bool = False, min_score: float | None = None,
        batch_size: int | None = None, limit: int | None = None, recursive: bool = False,
        strict: bool = False, reopen: int = 5, device: str = "auto", backend: str = "torch",
    ) -> Prediction:  # fmt: skip
        """Check the request, load the model and begin to read; arguments as for `predict`."""
        from posebench.data.frames import collect_sources
        from posebench.engine.prediction import check_format, check_unused

        target = results_file(out)
        if target:
            check_format(target)
            check_unused(target)
        _check_counts(batch_size=batch_size, limit=limit, reopen=reopen)
        _check(target, resume=resume, save_images=save_images, track=track, smooth=smooth)
        named = [sources] if isinstance(sources, str | Path) else list(sources)
        images = picture_folder(out, target) if save_images else None
        found = collect_sources(
            [str(one) for one in named], recursive=recursive, excluded=[images] if images else ()
        )
        check_replaces_nothing(found, target, images)
        predicting = find_predicting(model, device, backend)
        draw_score = predicting.draw_score if min_score is None else min_score
        everybody = target is not None and target.suffix.lower() == ".json" and not track
        if min_score is None:
            min_score = 0.0 if everybody else predicting.draw_score
        options = PredictOptions(
            min_score, track, smooth, batch_size or _batch_size(predicting), limit, strict, reopen,
            draw_score,
        )  # fmt: skip
        return cls(predicting, found, options, target, images, resume=resume)

    @property
    def length(self) -> int | None:
        """The number of images and frames, as far as it is known."""
        length, limit = self.reader.length, self.options.limit
        return length if limit is None else min(limit, length or limit)

    @property
    def live(self) -> bool:
        """Whether it is at a last source that ends when it is stopped, and not before."""
        if self.options.limit is not None:
            return False
        if self._last:
            return self._last.live and self._last.place == len(self._sources) - 1
        return self.reader.video is not None and self.reader.video.live

    def count_of(self, number: int) -> str:
        """Return a number of what is predicted, in words: images, frames, or both."""
        images = {source.kind == "image" for source in self._sources}
        what = "images and frames" if len(images) > 1 else "image" if True in images else "frame"
        return f"{number} {what}" + "s" * (len(images) == 1 and number != 1)

    def stop(self) -> None:
        """End soon, with what is done; it can be called by signal handlers."""
        self._stop.set()
        self.reader.stop()

    def __iter__(self) -> Iterator[FramePrediction]:
        from posebench.engine.prediction import predict_stream

        results: AbstractContextManager[Any] = self._results or nullcontext()
        least = self.options.min_score
        try:
            with results:
                for batch in predict_stream(self.model, self._wanted(), min_score=least):
                    yield from self._written(batch)
                self.complete = self.live or not self._stop.is_set()
                if self._results and self.complete:
                    self._results.finish()
        finally:
            self.reader.close()

    def _wanted(self) -> Iterator[list[Frame]]:
        """Yield the batches of frames to predict, until one cannot be read and ends the run."""
        done = self.continued
        limit = sys.maxsize if self.options.limit is None else self.options.limit
        batches = self.reader.batches(self.options.batch_size)
        # A stream may be silent after the last frame that is wanted.
        while done < limit and (frames := next(batches, [])[: limit - done]):
            if self._stop.is_set():  # the batch may be cut short
                break
            frames, error = self._until_error(frames)
            done += len(frames)
            if frames:
                yield frames
            if error:
                raise error

    def _until_error(self, frames: list[Frame]) -> tuple[list[Frame], DataError | None]:
        """Return the frames before the one that ends the run since it cannot be read, and why."""
        if self.options.strict or len(self._sources) == 1:
            for place, frame in enumerate(frames):
                if frame.error:
                    return frames[:place], frame.error
        return frames, None

    def _written(self, batch: list[FramePrediction]) -> list[FramePrediction]:
        """Return the people of a batch with their numbers, written."""
        self._last = batch[-1].origin
        if self._tracks:
            batch = [self._tracks.add(one) for one in batch]
        self._save_images(batch)
        if self._results:
            self._results.write(batch, self._tracks.state() if self._tracks else None)
        return batch

    def _open_results(self, *, resume: bool) -> tuple[PredictionFile | None, Progress | None]:
        if self.out is None:
            return None, None
        from posebench.engine.prediction import PredictionFile, is_unfinished, read_progress

        request = request_of(self.model, self._sources, self.options)
        progress = read_progress(self.out, request) if resume else None
        # An empty file is that of a run which was killed as it began.
        if resume and progress is None and self.out.exists() and self.out.stat().st_size:
            raise UsageError(
                f"{self.out} is complete, so there is nothing to continue: leave out --resume to "
                "predict anew."
            )
        if not resume and is_unfinished(self.out):
            raise UsageError(
                f"{self.out} holds the results of a stopped run: continue it with --resume, or "
                "choose another --out."
            )
        ids = image_ids(self._sources)
        results = PredictionFile(self.out, self.model.skeleton, request, ids, progress)
        return results, progress

    def _open_tracks(self, progress: Progress | None) -> Tracks | None:
        if not self.options.track:
            return None
        from posebench.engine.prediction import Tracks

        tracks = Tracks(self.model.skeleton, smooth=self.options.smooth)
        if progress and progress.tracks:
            tracks.restore(progress.tracks)
        return tracks

    def _open_reader(self, progress: Progress | None) -> FrameReader:
        from posebench.data.frames import FrameReader

        start = (progress.place, progress.frame) if progress else (0, 0)
        self.continued = progress.frames if progress else 0
        return FrameReader(
            self._sources, start=start, reopen=self.options.reopen,
            ahead=_AHEAD * self.options.batch_size,
        )  # fmt: skip

    def _save_images(self, batch: Sequence[FramePrediction]) -> None:
        if self.images is None:
            return
        from posebench.viz import draw_poses, write_image

        for one in batch:
            origin = one.origin
            if origin is None or origin.image is None:
                continue
            if one.numbers is None:  # results may have everybody, pictures do not
                one = one.at_least(self.options.draw_score)
            picture = draw_poses(origin.image, one.people, self.model.skeleton, numbers=one.numbers)
            write_image(self.images / self._picture_name(origin.place, origin.index), picture)

    def _picture_name(self, place: int, index: int) -> Path:
        source = self._sources[place]
        name = self._picture_names[source]
        return name if source.kind == "image" else name / f"{index:06d}.jpg"

    @cached_property
    def _picture_names(self) -> dict[Source, Path]:
        return picture_names_of(self._sources)


def find_predicting(model: str | Path | Model | Predictor, device: str, backend: str) -> Predicting:
    """Return a model or a predictor itself, or that of a name; a model is loaded to a device.

    Raises:
        ModelError: there is none.
    """
    from posebench.engine import Predicting, find_predictor

    if isinstance(model, Predicting):
        return model
    return find_predictor(model) or load_model(str(model), device=device, backend=backend)


def _check(
    target: Path | None, *, resume: bool, save_images: bool, track: bool, smooth: bool
) -> None:
    if target is None and (resume or save_images):
        raise UsageError("resume and save_images need results in a file: pass `out` too.")
    if smooth and not track:
        raise UsageError("--smooth calms the keypoints of people who are followed: add --track.")


def _check_counts(*, batch_size: int | None, limit: int | None, reopen: int) -> None:
    counts = (("batch_size", batch_size, 1), ("limit", limit, 1), ("reopen", reopen, 0))
    for name, value, least in counts:
        if value is not None and value < least:
            raise UsageError(f"Expected {name} of at least {least}, but found {value}.")


def _batch_size(model: Predicting) -> int:
    device = getattr(model, "device", None)
    return 1 if device is None or device.type == "cpu" else 8
