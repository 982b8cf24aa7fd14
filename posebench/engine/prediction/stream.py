"""From frames to people, a batch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from posebench.data.frames import Frame, FrameReader
from posebench.engine.predicting import Predicting
from posebench.skeleton import Skeleton
from posebench.structures import PosePredictions


@dataclass(frozen=True)
class FramePrediction:
    """The people of an image or a frame of a video."""

    source: str  # the path of an image or a video, the number of a camera, or an address
    frame: int  # its number in a video or stream, from 0
    # Seconds from the beginning of the video; of a camera or a live stream in seconds since 1970;
    # None: an image, or not known.
    time_s: float | None
    size: tuple[int, int]  # width and height in pixels; 0: it could not be read
    people: PosePredictions  # on the CPU, in pixels of the upright picture, best first
    numbers: tuple[int, ...] | None = None  # of the people, who keep theirs; None: not tracked
    error: str = ""  # why it could not be read
    origin: Frame | None = None  # with its pixels; None: they were let go

    @property
    def frame_read(self) -> Frame:
        """The frame with its pixels.

        Raises:
            ValueError: they were let go.
        """
        if self.origin is None:
            raise ValueError("the pixels of this prediction were let go: predict with stream=True")
        return self.origin

    def at_least(self, score: float) -> FramePrediction:
        """Return the prediction with the people of this score or a higher one."""
        return replace(self, people=self.people[self.people.scores >= score])


def predict_frames(
    model: Predicting, reader: FrameReader, *, batch_size: int = 1
) -> Iterator[FramePrediction]:
    """Yield the people of all frames of a reader, which decodes the next ones meanwhile.

    Raises:
        DataError: a live stream broke and could not be opened again.
    """
    for batch in predict_stream(model, reader.batches(batch_size)):
        yield from batch


def predict_stream(
    model: Predicting, batches: Iterable[Sequence[Frame]], *, min_score: float = 0.0
) -> Iterator[list[FramePrediction]]:
    """Yield the people of each batch of frames; those that could not be read have none.

    Args:
        model: what finds them; on a GPU it takes a batch before it gives the one before.
        batches: of frames that are predicted together.
        min_score: people with a lower score are left out.
    """
    waiting: deque[Sequence[Frame]] = deque()

    def images() -> Iterator[list[Any]]:
        for frames in batches:
            waiting.append(frames)
            yield [frame.image for frame in frames if frame.image is not None]

    for people in model.predict_stream(images()):
        found = iter(people)
        yield [_prediction(frame, found, model.skeleton, min_score) for frame in waiting.popleft()]


def predict_batch(
    model: Predicting, frames: Sequence[Frame], *, min_score: float = 0.0
) -> list[FramePrediction]:
    """Return the people of the frames of one batch, as `predict_stream` does."""
    return next(predict_stream(model, [frames], min_score=min_score))


def _prediction(
    frame: Frame, found: Iterator[PosePredictions], skeleton: Skeleton, min_score: float
) -> FramePrediction:
    if frame.image is None:
        people, size = _nobody(skeleton), (0, 0)
    else:
        people = _on_cpu(next(found))
        if min_score > 0:
            people = people[people.scores >= min_score]
        size = frame.image.shape[1], frame.image.shape[0]
    return FramePrediction(
        frame.source.name, frame.index, frame.time_s, size, people,
        error=str(frame.error or ""), origin=frame,
    )  # fmt: skip


def _on_cpu(people: PosePredictions) -> PosePredictions:
    return replace(
        people,
        keypoints=people.keypoints.detach().cpu(),
        keypoint_scores=people.keypoint_scores.detach().cpu(),
        scores=people.scores.detach().cpu(),
    )


def _nobody(skeleton: Skeleton) -> PosePredictions:
    count = len(skeleton)
    return PosePredictions(
        torch.zeros(0, count, 2), torch.zeros(0, count), torch.zeros(0), skeleton=skeleton
    )
