"""Frames of video files, moving pictures and cameras."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from posebench.data.image_files import is_moving
from posebench.errors import DataError, command_line

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".wmv", ".asf", ".flv", ".f4v",
    ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".mpv", ".vob", ".ts", ".mts", ".m2ts", ".m2t", ".tod",
    ".mod", ".3gp", ".3gpp", ".3g2", ".ogv", ".ogm", ".mxf", ".dv", ".rm", ".rmvb", ".nut", ".ivf",
    ".y4m", ".mjpeg", ".mjpg", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".vvc", ".266",
    ".av1", ".obu", ".amv", ".wtv", ".mj2",
)  # fmt: skip

# FourCCs of codecs that every OpenCV with FFmpeg decodes: no frame of such a file means damage.
_COMMON_CODECS = (
    "h264", "avc1", "hevc", "hvc1", "hev1", "fmp4", "mp4v", "xvid", "mjpg", "vp80", "vp90", "mpg1",
    "mpg2", "wmv1", "wmv2", "wmv3", "flv1", "h263",
)  # fmt: skip
_CODEC_NAMES = {"av01": "AV1", "vvc1": "H.266", "apv1": "APV"}

if "OPENCV_FFMPEG_LOGLEVEL" not in os.environ:
    # FFmpeg reports on stderr every frame that it cannot decode; the errors here say so once.
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"

_USUAL_FPS = 25.0  # where a film does not say

# A frame (H, W, 3) uint8 RGB, and when it is shown in ms from the first one; None: not known.
_Timed: TypeAlias = tuple[NDArray[np.uint8], float | None]


@dataclass
class Video:
    """An opened video file or camera; iterating yields its frames as (H, W, 3) uint8 RGB."""

    name: str
    fps: float | None  # frames per second; None: not known
    length: int | None  # number of frames in the file's header; None: not known, or a camera
    frames: Iterator[_Timed] = field(repr=False)
    shown_ms: float | None = None  # when the last yielded frame is shown; None: not known
    live: bool = False  # frames that are not taken when they come are lost
    _latest_ms: float = 0.0
    _step_ms: float = 0.0  # between the last two frames

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for frame, shown_ms in self.frames:
            self.shown_ms = None if shown_ms is None else self._later(shown_ms)
            yield frame

    def _later(self, shown_ms: float) -> float:
        """Return when a frame is shown, which is after the one before.

        OpenCV says 0 of frames without a time: all of some streams without a container (.h264),
        and the last one of others (.m2v).
        """
        if self.shown_ms is not None:
            if shown_ms <= self.shown_ms:
                shown_ms = self.shown_ms + (self._step_ms or 1000 / (self.fps or _USUAL_FPS))
            self._step_ms = shown_ms - self.shown_ms
        self._latest_ms = max(self._latest_ms, shown_ms)
        return shown_ms

    def missing(self, frames: int) -> int:
        """Return how many frames are missing of those in the header, after so many were read.

        Some headers have only the rate and the duration. A film whose last frame is shown near its
        end is complete with fewer frames: it has pauses.
        """
        if self.length is None or frames >= self.length:
            return 0
        if self.fps and self._latest_ms >= 1000 * (self.length - 2) / self.fps:
            return 0
        return self.length - frames


def is_camera(source: str) -> bool:
    """Return whether a source is a camera's number, and no file of that name."""
    return source.isdigit() and not Path(source).exists()


def is_film_name(path: Path) -> bool:
    """Return whether a file's name ends like that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_video(source: str) -> bool:
    """Return whether a source is a camera's number, a video file or a moving picture.

    Video files are told by their suffix, moving pictures (GIF, APNG, WebP, AVIF) by their content.
    A folder is none, and a file or folder called like a camera's number is itself.
    """
    path = Path(source)
    if path.is_dir():
        return False
    if is_camera(source) or is_film_name(path):
        return True
    return path.suffix.lower() in (".gif", ".png", ".apng", ".webp", ".avif") and is_moving(path)


def open_video(source: str) -> Video:
    """Open a video file, a moving picture, or a camera by its number.

    A rotated film of a phone is turned upright.

    Raises:
        DataError: there is no such file or camera, or the file cannot be decoded.
    """
    if is_camera(source):
        capture = cv2.VideoCapture(int(source))
        if not capture.isOpened():
            raise DataError(f"There is no camera {source} on this machine, or it is in use.")
        # Get the newest frame, not one buffered while the previous frame was processed.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return Video(f"camera{source}", None, None, captured(capture, timed=False), live=True)
    path = Path(source)
    if not path.is_file():
        raise DataError(f"The video {path} is not there: check the path.")
    if is_moving(path):
        return _moving_picture(path)
    # FFmpeg takes what is before a colon for a protocol, unless the path is absolute.
    capture = cv2.VideoCapture(str(path.absolute()))
    if not capture.isOpened():
        raise DataError(
            f"The file {path} is not a video that can be decoded: it has sound only, is cut short "
            "or damaged, or is of a codec that this OpenCV lacks. Copy it again, or convert it to "
            "H.264."
        )
    fps = capture.get(cv2.CAP_PROP_FPS)
    length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    fourcc = _fourcc(capture)
    frames = captured(capture, timed=True)
    first = next(frames, None)
    if first is None:
        raise _nothing_decoded(path, fourcc)
    return Video(
        path.stem if path.suffix.lower() == ".mp4" else path.name,
        fps if fps > 0 else None,
        length if length > 0 else None,
        _chained(first, frames),
    )


def captured(capture: cv2.VideoCapture, *, timed: bool) -> Iterator[_Timed]:
    """Yield the frames of an opened capture, and when each is shown if `timed`; then close it."""
    try:
        while True:
            has_frame, frame = capture.read()
            if not has_frame:
                return
            shown = float(capture.get(cv2.CAP_PROP_POS_MSEC)) if timed else None
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8), shown
    finally:
        capture.release()


def _chained(first: _Timed, rest: Iterator[_Timed]) -> Iterator[_Timed]:
    yield first
    yield from rest


def _moving_picture(path: Path) -> Video:
    """Return the frames of a GIF, APNG, WebP or AVIF file, of which OpenCV decodes some only."""
    with Image.open(path) as image:
        length = int(getattr(image, "n_frames", 1))
    return Video(path.name, None, length, _picture_frames(path, length))


def _picture_frames(path: Path, length: int) -> Iterator[_Timed]:
    shown = 0.0
    with Image.open(path) as image:
        for number in range(length):
            # A file that is cut short has fewer frames than its header says.
            with suppress(EOFError, OSError, SyntaxError, ValueError):
                image.seek(number)
                image.load()
                yield np.asarray(image.convert("RGB"), np.uint8), shown
            # Viewers show frames without a duration, or with a very short one, for a tenth second.
            duration = float(image.info.get("duration") or 0)
            shown += duration if duration > 10 else 100.0


def _fourcc(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return code.to_bytes(4, "little", signed=code < 0).decode("ascii", "replace").strip("\0 ")


def _nothing_decoded(path: Path, fourcc: str) -> DataError:
    if fourcc.lower() in _COMMON_CODECS:
        return DataError(
            f"No frame of the video {path} ({fourcc}) can be decoded: it is cut short or damaged. "
            "Copy or download it again."
        )
    name = _CODEC_NAMES.get(fourcc.lower(), fourcc or "unknown")
    code = f" (FourCC {fourcc})" if fourcc and name != fourcc else ""
    command = command_line("ffmpeg", "-i", path.name, "-c:v", "libx264", f"{path.stem}-h264.mp4")
    return DataError(
        f"No frame of the video {path} can be decoded: this OpenCV decodes no {name}{code}. "
        f"Convert it to H.264, for instance with `{command}`."
    )
