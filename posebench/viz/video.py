"""Writing videos that common players can play."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from posebench.errors import PosebenchError
from posebench.files import atomic_write
from posebench.viz.draw import RGB

# VP9 plays in browsers and all common players; if OpenCV was built without it, MPEG-4 plays in most
# players.
_CODECS = ("vp09", "mp4v")
_MEASURED = 10  # frames from which the frame rate of a source without one is measured


class VideoFile:
    """An MP4 file that is being written, frame by frame."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._waiting: list[RGB] = []  # until the frame rate is known
        self._start = time.perf_counter()
        self.frames = 0

    def write(self, frame: RGB) -> None:
        """Append a frame (H, W, 3); all must have the size of the first.

        Raises:
            PosebenchError: OpenCV has none of the codecs.
        """
        self.frames += 1
        self._waiting.append(frame)
        if self._fps or len(self._waiting) == _MEASURED:
            self._flush()

    def finish(self) -> None:
        """Write the waiting frames and close the file."""
        self._flush()
        if self._writer:
            self._writer.release()

    def _flush(self) -> None:
        if self._waiting and not self._writer:
            elapsed = max(time.perf_counter() - self._start, 1e-3)
            height, width = self._waiting[0].shape[:2]
            fps = self._fps or len(self._waiting) / elapsed
            self._writer = _open(self._path, fps, (width + width % 2, height + height % 2))
        for frame in self._waiting:
            assert self._writer  # opened above
            height, width = frame.shape[:2]
            # Codecs store colour at half the resolution, so sides must be even.
            even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self._waiting.clear()


@contextmanager
def write_video(path: Path, fps: float | None) -> Iterator[VideoFile]:
    """Yield a video to append frames to; the file appears when it is complete.

    Args:
        path: an .mp4 file; its folder is made if it does not exist.
        fps: frames per second; None: the measured rate at which frames are written.

    Raises:
        PosebenchError: the file cannot be written, or has no frames.
    """
    with atomic_write(path) as beside:
        video = VideoFile(beside, fps)
        try:
            yield video
        finally:
            video.finish()
        if not video.frames:
            raise PosebenchError(f"{path} was not written: there was no frame to write.")


def _open(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    for codec in _CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
    raise PosebenchError(
        f"{path} cannot be written: this OpenCV has none of the codecs {', '.join(_CODECS)}, "
        "or the folder cannot be written."
    )
