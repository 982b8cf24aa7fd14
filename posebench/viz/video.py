"""Writing videos that common players can play."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2

from posebench.errors import PosebenchError, UsageError
from posebench.files import atomic_write
from posebench.viz.colours import RGB

# The codecs to try for a file's ending. VP9 plays in browsers and all common players; if OpenCV was
# built without it, MPEG-4 plays in most players.
_CODECS = {
    ".mp4": ("vp09", "mp4v"),
    ".mkv": ("vp09", "mp4v"),
    ".webm": ("vp09", "VP80"),
    ".mov": ("mp4v", "MJPG"),
    ".avi": ("mp4v", "MJPG"),
}
WRITABLE_VIDEOS = tuple(_CODECS)

AHEAD = 4  # frames that wait for the encoder at most
_MEASURED = 10  # first frames by which the rate of the file is chosen
_UNEVEN = 1.5  # ratio of two intervals from which on frames are not evenly spaced
_FINE_FPS = 50.0  # rate of a file with unevenly spaced frames: they are at most 10 ms early or late
_HIGHEST_FPS = 120.0  # some headers have the rate of their clock, such as 1000 or 90000
_LONGEST_PAUSE_S = 60.0


class VideoFile:
    """A video file that is being written, frame by frame, in a thread of its own.

    The file has a constant rate, so a frame that is shown for longer is repeated.
    """

    def __init__(self, path: Path, fps: float | None) -> None:
        self._path, self._fps = path, fps
        # OpenCV encodes without holding Python's lock; one thread keeps the order.
        self._encoder = ThreadPoolExecutor(1, "video")
        self._encoding: deque[Future[None]] = deque()
        self._writer: cv2.VideoWriter | None = None
        self._waiting: list[tuple[RGB, float | None]] = []  # until the rate is chosen
        self._start = time.perf_counter()
        self._rate = 0.0  # of the file, when it is open
        self._begin_ms: float | None = None  # when the first frame is shown
        self._written = 0  # frames with repetitions
        self._last: Any = None  # the frame written last, as OpenCV takes it
        self.frames = 0  # that were passed to `write`
        self.repeated = 0  # further copies of frames that are shown for longer
        self.shortened = 0  # pauses that were longer than a minute

    def write(self, frame: RGB, shown_ms: float | None = None) -> None:
        """Append a frame; it is encoded later, while the next ones are made.

        Args:
            frame: (H, W, 3), which stays as it is; all must have the size of the first.
            shown_ms: when it is shown, in ms from any point on; None: right after the one before.

        Raises:
            PosebenchError: OpenCV has none of the codecs.
        """
        self.frames += 1
        self._encoding.append(self._encoder.submit(self._take, frame, shown_ms))
        if len(self._encoding) > AHEAD:
            self._encoding.popleft().result()

    def finish(self) -> None:
        """Wait until all frames are in the file.

        Raises:
            PosebenchError: OpenCV has none of the codecs.
        """
        self._encoding.append(self._encoder.submit(self._flush))
        while self._encoding:
            self._encoding.popleft().result()

    def close(self) -> None:
        """Close the file, and end the thread; frames that still wait are dropped."""
        self._encoder.shutdown(cancel_futures=True)
        if self._writer:
            self._writer.release()

    def _take(self, frame: RGB, shown_ms: float | None) -> None:
        self._waiting.append((frame, shown_ms))
        known = self._fps and shown_ms is None
        if self._writer or known or len(self._waiting) == _MEASURED:
            self._flush()

    def _flush(self) -> None:
        if self._waiting and not self._writer:
            height, width = self._waiting[0][0].shape[:2]
            self._rate = self._choose_rate()
            size = (width + width % 2, height + height % 2)
            self._writer = _open(self._path, self._rate, size)
        for frame, shown_ms in self._waiting:
            self._append(frame, self._place(shown_ms))
        self._waiting.clear()

    def _choose_rate(self) -> float:
        """Return the frames per second of the file, from the first frames."""
        times = [shown for _, shown in self._waiting if shown is not None]
        gaps = [late - early for early, late in pairwise(times) if late > early]
        if not gaps:
            elapsed = max(time.perf_counter() - self._start, 1e-3)
            return self._fps or len(self._waiting) / elapsed
        fps = self._fps or 1000 / min(gaps)
        if max(gaps) > _UNEVEN * min(gaps):
            return max(_FINE_FPS, min(fps, _HIGHEST_FPS))
        return fps if fps <= _HIGHEST_FPS else 1000 / min(gaps)

    def _place(self, shown_ms: float | None) -> int:
        """Return the place of a frame in the file; every frame has one of its own."""
        if shown_ms is None:
            return self._written
        if self._begin_ms is None:
            self._begin_ms = shown_ms
        place = round((shown_ms - self._begin_ms) * self._rate / 1000)
        longest = self._written + round(_LONGEST_PAUSE_S * self._rate)
        if place > longest:
            self.shortened += 1
            self._begin_ms += (place - longest) * 1000 / self._rate
            place = longest
        return max(place, self._written)

    def _append(self, frame: RGB, place: int) -> None:
        assert self._writer  # opened by _flush
        height, width = frame.shape[:2]
        # Codecs store colour at half the resolution, so sides must be even.
        even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        bgr = cv2.cvtColor(even, cv2.COLOR_RGB2BGR)
        for _ in range(place - self._written):
            self._writer.write(self._last)
        self.repeated += place - self._written
        self._written = place
        self._writer.write(bgr)
        self._written += 1
        self._last = bgr


@contextmanager
def write_video(path: Path, fps: float | None) -> Iterator[VideoFile]:
    """Yield a video to append frames to; the file appears when it is complete.

    Args:
        path: a file with one of the endings `WRITABLE_VIDEOS`; its folder is made if it does not
            exist.
        fps: frames per second; None: by the times of the frames, or else the measured rate at which
            they are written.

    Raises:
        UsageError: the file has another ending.
        PosebenchError: the file cannot be written, or has no frames.
    """
    if path.suffix.lower() not in _CODECS:
        raise UsageError(
            f"Expected a video file that ends in {', '.join(_CODECS)}, but found {path.name!r}: "
            "choose another name."
        )
    with atomic_write(path) as beside:
        video = VideoFile(beside, fps)
        try:
            yield video
            video.finish()
        finally:
            video.close()
        if not video.frames:
            raise PosebenchError(f"{path} was not written: there was no frame to write.")


def _open(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    codecs = _CODECS[path.suffix.lower()]
    for codec in codecs:
        # FFmpeg takes what is before a colon for a protocol, unless the path is absolute.
        writer = cv2.VideoWriter(str(path.absolute()), cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
    raise PosebenchError(
        f"{path} cannot be written: this OpenCV has none of the codecs {', '.join(codecs)}, "
        "or the folder cannot be written."
    )
