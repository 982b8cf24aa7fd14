"""A file of predictions that grows batch by batch, and goes on where a stopped run left it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from posebench.engine.prediction.formats import format_of, write_parquet
from posebench.engine.prediction.stream import FramePrediction
from posebench.errors import DataError, PosebenchError, UsageError
from posebench.files import read_json, write_json
from posebench.skeleton import Skeleton

_SAVE_S = 1.0  # at most so much work is done again after a crash


@dataclass
class Progress:
    """How far a run came; kept in a file beside its results until it is complete."""

    request: Mapping[str, Any]  # what determines the results
    place: int = 0  # of the source to go on with
    frame: int = 0  # to go on with in that source
    frames: int = 0  # written, of all sources
    records: int = 0
    size: int = 0  # bytes of the results, without what ends the file
    tracks: Mapping[str, Any] | None = None  # state of the trackers


def progress_file(path: Path) -> Path:
    """Return the file in which the progress of a file of results is kept."""
    return path.with_name(f".{path.name}.progress.json")


def read_progress(path: Path, request: Mapping[str, Any]) -> Progress | None:
    """Return how far the stopped run of a file of results came; None: there is none.

    Raises:
        DataError: its results are shorter than they were.
        UsageError: it was begun with another model, other sources or options.
    """
    file = progress_file(path)
    if not file.is_file():
        return None
    progress = Progress(**read_json(file, "the progress of predictions"))
    text = _text_file(path)
    if (text.stat().st_size if text.is_file() else 0) < progress.size:
        raise DataError(
            f"Expected {progress.size} bytes of results in {text}, as {file} says, but found "
            f"fewer: remove {file} to begin anew."
        )
    changed = [name for name in request if request[name] != progress.request.get(name)]
    if changed:
        raise UsageError(
            f"{path} was begun with another value of {', '.join(changed)}: repeat the command it "
            f"was begun with, or remove {file} to begin anew."
        )
    return progress


class PredictionFile:
    """Writes predictions; what is written is readable after every batch."""

    def __init__(
        self,
        path: Path,
        skeleton: Skeleton,
        request: Mapping[str, Any],
        image_ids: Callable[[str, int], int],
        progress: Progress | None = None,
    ) -> None:
        """Prepare to write; an earlier file is replaced by the first batch.

        Args:
            path: ends as `formats.SUFFIXES` do.
            skeleton: names the keypoints.
            request: what determines the results, as JSON has it.
            image_ids: as for `format_of`.
            progress: of the run to continue; None: begin anew.

        Raises:
            UsageError: the file has another ending.
            UnsupportedError: the library that writes it is not installed.
        """
        self.path = path
        self.progress = progress or Progress(dict(request))
        self._skeleton = skeleton
        self._format = format_of(path, skeleton, image_ids)
        self._text = _text_file(path)
        self._file: Any = None
        self._saved_s = 0.0

    def __enter__(self) -> PredictionFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep what is done, so that it can be continued."""
        if self._file is not None:
            self._save()
            self._close()

    def write(
        self, batch: Sequence[FramePrediction], tracks: Mapping[str, Any] | None = None
    ) -> None:
        """Append the next frames; `tracks` is the trackers' state after them.

        Raises:
            DataError: a number is not finite.
            PosebenchError: the disk is full, or the folder cannot be written.
        """
        done = self.progress
        records: list[str] = []
        for one in batch:
            records += self._format.records(one, done.frames)
            done.frames += 1
        try:
            self._append(records)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        last = batch[-1].origin
        assert last is not None  # frames are let go after they are written
        is_image = last.source.kind == "image" or last.image is None
        done.place, done.frame = (last.place + 1, 0) if is_image else (last.place, last.index + 1)
        done.tracks = tracks
        if time.monotonic() - self._saved_s > _SAVE_S:
            self._save()

    def finish(self) -> None:
        """Complete the file: there is nothing to continue any more."""
        if self._file is None:  # there was no frame
            self._append([])
        self._close()
        progress_file(self.path).unlink(missing_ok=True)
        if self._text != self.path:
            self._text.unlink(missing_ok=True)

    def _append(self, records: Sequence[str]) -> None:
        text, done = self._format, self.progress
        if self._file is None:
            self._open()
        if records:
            joined = text.joint.join(records)
            joined = (text.joint if done.records else "") + joined
            # The tail is written each time, so that the file can be read at any moment.
            self._file.seek(done.size)
            self._file.write((joined + text.tail).encode())
            done.size += len(joined.encode())
            done.records += len(records)
        self._file.flush()

    def _open(self) -> None:
        self._text.parent.mkdir(parents=True, exist_ok=True)
        done, text = self.progress, self._format
        if done.size:
            self._file = self._text.open("r+b")
            self._file.truncate(done.size)
            self._file.seek(done.size)
            tail = text.tail
        else:
            # First, so that a file whose run was killed is never taken for a complete one.
            write_json(progress_file(self.path), vars(done))
            self._file = self._text.open("wb")
            self._file.write(text.head.encode())
            done.size = len(text.head.encode())
            tail = text.tail.lstrip("\n")
        self._file.write(tail.encode())

    def _save(self) -> None:
        os.fsync(self._file.fileno())
        write_json(progress_file(self.path), vars(self.progress))
        self._saved_s = time.monotonic()

    def _close(self) -> None:
        self._file.close()
        self._file = None
        if self._text != self.path:
            write_parquet(self._text, self.path, self._skeleton)


def _text_file(path: Path) -> Path:
    """Return the file that grows: that of the results, or the rows that become Parquet."""
    is_parquet = path.suffix.lower() == ".parquet"
    return path.with_name(f".{path.name}.rows.jsonl") if is_parquet else path


def is_unfinished(path: Path) -> bool:
    """Return whether a file of results is that of a stopped run."""
    return progress_file(path).is_file()


def _unwritable(path: Path, error: OSError) -> PosebenchError:
    return PosebenchError(
        f"{path} cannot be written ({error.strerror or error}): free some space on its disk, or "
        "choose another folder; what is done can be continued with --resume."
    )
