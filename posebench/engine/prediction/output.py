"""A file of predictions that grows batch by batch, and goes on where a stopped run left it."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from posebench.engine.prediction.formats import format_of, write_parquet
from posebench.engine.prediction.stream import FramePrediction
from posebench.errors import DataError, PosebenchError, UsageError
from posebench.files import read_json, write_json
from posebench.skeleton import Skeleton

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # of some network file systems
_SAVE_S = 1.0  # at most so much work is done again after a crash


@dataclass(frozen=True)
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
        DataError: its results are shorter than they were, or the progress is of another version.
        UsageError: it was begun with another model, other sources or options.
    """
    file = progress_file(path)
    if not file.is_file():
        return None
    saved = read_json(file, "the progress of predictions")
    if not isinstance(saved, dict) or saved.keys() != {one.name for one in fields(Progress)}:
        raise DataError(
            f"{file} is not the progress of this version's predictions: remove it to begin anew."
        )
    progress = Progress(**saved)
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
            try:
                self._keep(error)
            finally:
                self._close()

    def write(
        self, batch: Sequence[FramePrediction], tracks: Mapping[str, Any] | None = None
    ) -> None:
        """Append the next frames; `tracks` is the trackers' state after them.

        Raises:
            DataError: a number is not finite.
            PosebenchError: the disk is full, or the folder cannot be written.
            UsageError: another run is writing the file.
        """
        frames = self.progress.frames
        records: list[str] = []
        for number, one in enumerate(batch, start=frames):
            records += self._format.records(one, number)
        size = self._append(records)
        last = batch[-1].origin
        assert last is not None  # frames are let go after they are written
        is_image = last.source.kind == "image" or last.image is None
        place, frame = (last.place + 1, 0) if is_image else (last.place, last.index + 1)
        # At once, when all of the batch is in the file: a run that is stopped in between, or whose
        # disk is full, goes on before the batch.
        self.progress = replace(
            self.progress, place=place, frame=frame, frames=frames + len(batch),
            records=self.progress.records + len(records), size=size, tracks=tracks,
        )  # fmt: skip
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

    def _append(self, records: Sequence[str]) -> int:
        """Write records behind those that are done; return the size of the results with them."""
        try:
            if self._file is None:
                self._open()
            text, done = self._format, self.progress
            if not records:
                return done.size
            joined = (text.joint if done.records else "") + text.joint.join(records)
            # Names of files need not be text; in CSV they are the bytes that they are on the disk.
            content = joined.encode(errors="surrogateescape")
            # The tail is written each time, so that the file can be read at any moment.
            self._write(done.size, content + text.tail.encode())
            return done.size + len(content)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _open(self) -> None:
        self._text.parent.mkdir(parents=True, exist_ok=True)
        done, text = self.progress, self._format
        self._text.touch()
        # Locked as long as it is open: the system ends the lock however the process ends.
        self._file = self._text.open("r+b", buffering=0)
        if not _locked(self._file.fileno()):
            self._file.close()
            self._file = None
            raise _in_use(self.path)
        if not done.size:
            # First, so that a file whose run was killed is never taken for a complete one.
            write_json(progress_file(self.path), vars(done))
            self._file.truncate(0)
            self._write(0, text.head.encode())
            self.progress = replace(done, size=len(text.head.encode()))
        self._write_tail()

    def _write(self, place: int, content: bytes) -> None:
        """Write unbuffered, so that the file has all of it, or an error is raised."""
        self._file.seek(place)
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]

    def _write_tail(self) -> None:
        """End the file behind what is done."""
        self._file.truncate(self.progress.size)
        tail = self._format.tail if self.progress.records else self._format.tail.lstrip("\n")
        self._write(self.progress.size, tail.encode())

    def _keep(self, error: BaseException | None) -> None:
        """Save what is done; after an error, which may be of a full disk, as far as possible."""
        if error is None:
            self._save()
            return
        # The error is what has to be said; the progress that was saved before stays true.
        with suppress(OSError, PosebenchError):
            self._write_tail()
            self._save()

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


def check_unused(path: Path) -> None:
    """Check that no other run is writing a file of results.

    Raises:
        UsageError: one is.
    """
    with suppress(OSError), _text_file(path).open("rb") as file:
        if not _locked(file.fileno()):
            raise _in_use(path)


def _locked(handle: int) -> bool:
    """Lock an open file until it is closed; return whether no other process has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _in_use(path: Path) -> UsageError:
    return UsageError(f"Another run is writing {path}: wait for its end, or choose another --out.")


def is_unfinished(path: Path) -> bool:
    """Return whether a file of results is that of a stopped run."""
    return progress_file(path).is_file()


def _unwritable(path: Path, error: OSError) -> PosebenchError:
    return PosebenchError(
        f"{path} cannot be written ({error.strerror or error}): free some space on its disk, or "
        "choose another folder; what is done can be continued with --resume."
    )
