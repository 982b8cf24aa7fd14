"""Frames of video files and cameras."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posebench.errors import DataError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")


@dataclass
class Video:
    """An opened video file or camera; iterating yields its frames as (H, W, 3) uint8 RGB."""

    name: str
    capture: cv2.VideoCapture
    fps: float | None  # frames per second; None: not known
    length: int | None  # number of frames in the file's header; None: not known, or a camera

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        try:
            while True:
                has_frame, frame = self.capture.read()
                if not has_frame:
                    return
                yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        finally:
            self.capture.release()


def is_video(source: str) -> bool:
    """Return whether a source is a camera's number or has the suffix of a video file."""
    return source.isdigit() or Path(source).suffix.lower() in VIDEO_SUFFIXES


def open_video(source: str) -> Video:
    """Open a video file, or a camera by its number.

    Raises:
        DataError: there is no such file or camera, or the file cannot be decoded.
    """
    if source.isdigit():
        capture = _quietly(int(source))
        if not capture.isOpened():
            raise DataError(f"There is no camera {source} on this machine, or it is in use.")
        # Get the newest frame, not one buffered while the previous frame was processed.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return Video(f"camera{source}", capture, None, None)
    path = Path(source)
    if not path.is_file():
        raise DataError(f"The video {path} is not there.")
    capture = _quietly(str(path))
    if not capture.isOpened():
        raise DataError(f"The file {path} is not a video that can be decoded.")
    fps = capture.get(cv2.CAP_PROP_FPS)
    length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return Video(path.stem, capture, fps if fps > 0 else None, length if length > 0 else None)


def _quietly(source: int | str) -> cv2.VideoCapture:
    # OpenCV and its decoders report their attempts on stderr; the caller raises one clear error.
    with Path(os.devnull).open("w") as nowhere:
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            return cv2.VideoCapture(source)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
