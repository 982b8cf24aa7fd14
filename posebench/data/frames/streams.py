"""Streams by their address (rtsp, http, ...), which are opened again when they break."""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from posebench.data.video import Video, captured
from posebench.errors import DataError

_TIMEOUT_MS = 10_000  # to open a stream, and to wait for its next frame
# A connection that lasted longer was good: the attempts to open it again are counted anew.
_GOOD_S = 10.0
_LONGEST_PAUSE_S = 60.0  # between attempts


def open_stream(address: str, name: str, *, reopen: int = 5, pause_s: float = 1.0) -> Video:
    """Open a stream; a live one that breaks is opened again.

    Args:
        address: with its protocol, such as `rtsp://...`.
        name: the address as messages show it.
        reopen: how many times in a row a live stream is opened again.
        pause_s: before the first of these attempts; it doubles with each, up to a minute.

    Raises:
        DataError: it cannot be opened; while frames are taken: it broke, and stays away.
    """
    capture = _capture(address)
    if capture is None:
        raise DataError(
            f"The stream {name} cannot be opened: check the address, the network, and whether it "
            "asks for a user and password (rtsp://USER:PASSWORD@HOST/...)."
        )
    fps = capture.get(cv2.CAP_PROP_FPS)
    length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if length > 0:  # a film on a server
        return Video(name, fps if fps > 0 else None, length, captured(capture, timed=True))
    frames = _reopened(capture, address, name, reopen, pause_s)
    return Video(name, None, None, frames, live=True)


def _capture(address: str) -> cv2.VideoCapture | None:
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS,
    ]  # fmt: skip
    capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
    return capture if capture.isOpened() else None


def _reopened(
    capture: cv2.VideoCapture, address: str, name: str, reopen: int, pause_s: float
) -> Iterator[tuple[NDArray[np.uint8], float | None]]:
    frames, failed = 0, 0
    current: cv2.VideoCapture | None = capture
    while True:
        opened = time.monotonic()
        for frame, _ in captured(current, timed=False) if current else ():
            frames += 1
            yield frame, None
        if time.monotonic() - opened > _GOOD_S:
            failed = 0
        if failed == reopen:
            raise DataError(
                f"The stream {name} broke after {frames} frames, and opening it again {reopen} "
                "times did not help: see whether its source is running."
            )
        time.sleep(min(pause_s * 2**failed, _LONGEST_PAUSE_S))
        failed += 1
        current = _capture(address)
