"""Frames in the order of their sources, decoded ahead in the background."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posebench.data.frames.background import Background
from posebench.data.frames.sources import Source
from posebench.data.frames.streams import open_stream
from posebench.data.image_files import read_image
from posebench.data.video import Video, open_video
from posebench.errors import DataError

Decode = Callable[[Path], NDArray[np.uint8]]

_THREADS = 2  # that decode images; OpenCV and Pillow decode without holding Python's lock


@dataclass(frozen=True)
class Frame:
    """An image, or a frame of a video."""

    source: Source
    place: int  # of the source, among all
    index: int  # of the frame in its source, from 0
    # When it is shown, in seconds from the beginning of its video; of a camera or a live stream
    # when it was taken, in seconds since 1970; None: an image, or not known.
    time_s: float | None
    image: NDArray[np.uint8] | None  # (H, W, 3) RGB; None: it cannot be read
    error: DataError | None = None  # why not
    live: bool = False  # of a camera or a live stream


class FrameReader:
    """Reads the frames of sources in batches, ahead of those who take them."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        start: tuple[int, int] = (0, 0),
        decode: Decode | None = None,
        ahead: int = 4,
        reopen: int = 5,
    ) -> None:
        """Prepare to read; the thread begins when the first batch is asked for.

        Args:
            sources: in their order; a lone video is opened at once.
            start: the place of a source and the index of a frame in it to begin with.
            decode: reads an image file; None: upright, as its EXIF orientation says.
            ahead: how many decoded frames wait at most.
            reopen: how many times in a row a live stream that breaks is opened again.

        Raises:
            DataError: a lone video, camera or stream cannot be opened.
        """
        self._sources = list(sources)
        self._start = start
        self._decode = decode or _upright
        self._ahead = max(ahead, _THREADS)
        self._reopen = reopen
        self.notices: list[str] = []  # on what is missing
        self.video: Video | None = None  # a lone one
        if len(sources) == 1 and sources[0].kind != "image":
            self.video = self._open(sources[0])
        self._background = Background(
            self._frames(), self._ahead, perishable=lambda frame: frame.live
        )

    @property
    def length(self) -> int | None:
        """The number of frames in all, as far as headers say it; None: not known."""
        if self.video:
            return self.video.length
        return len(self._sources) if all(one.kind == "image" for one in self._sources) else None

    @property
    def dropped(self) -> int:
        """Frames of cameras and live streams that came while the earlier ones were computed."""
        return self._background.dropped

    def batches(self, size: int) -> Iterator[list[Frame]]:
        """Yield successive frames, `size` at a time; of a live source those that are there.

        Raises:
            DataError: a live stream broke and could not be opened again.
        """
        try:
            while batch := self._background.take(size):
                yield batch
        finally:
            self.close()

    def stop(self) -> None:
        """End `batches`, also while it waits for a frame; it can be called by signal handlers."""
        self._background.stop()

    def close(self) -> None:
        self._background.close()

    def _frames(self) -> Iterator[Frame]:
        first, index = self._start
        numbered = [(place, one) for place, one in enumerate(self._sources) if place >= first]
        for is_image, group in groupby(numbered, key=lambda pair: pair[1].kind == "image"):
            if is_image:
                begun = [(place, one) for place, one in group if place > first or not index]
                yield from self._images(begun)
                continue
            for place, source in group:
                yield from self._video(place, source, index if place == first else 0)

    def _images(self, sources: Sequence[tuple[int, Source]]) -> Iterator[Frame]:
        waiting: deque[Future[Frame]] = deque()
        pool = ThreadPoolExecutor(_THREADS)
        try:
            for place, source in sources:
                waiting.append(pool.submit(self._image, place, source))
                if len(waiting) > _THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _image(self, place: int, source: Source) -> Frame:
        try:
            return Frame(source, place, 0, None, self._decode(source.path))
        except DataError as error:
            return Frame(source, place, 0, None, None, error)

    def _video(self, place: int, source: Source, start: int) -> Iterator[Frame]:
        try:
            video = self.video or self._open(source)
        except DataError as error:
            yield Frame(source, place, 0, None, None, error)
            return
        # What a camera shows cannot be taken again: its frames are numbered on.
        index = start if video.live else 0
        first_ms: float | None = None
        for image in video:
            if first_ms is None:
                first_ms = video.shown_ms
            if index >= start:
                shown = None if video.shown_ms is None else (video.shown_ms - (first_ms or 0)) / 1e3
                time_s = round(time.time(), 3) if video.live else shown
                yield Frame(source, place, index, time_s, image, live=video.live)
            index += 1
        if missing := video.missing(index):
            self.notices.append(
                f"{missing} of {video.length} frames of {source.name} are missing: the file is cut "
                "short or damaged."
            )

    def _open(self, source: Source) -> Video:
        if source.kind == "stream":
            return open_stream(source.address, source.name, reopen=self._reopen)
        return open_video(source.address)


def _upright(path: Path) -> NDArray[np.uint8]:
    return read_image(path, upright=True)
