"""Numbers for the people of a stream of predictions: a tracker for each video or folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from posebench.engine.prediction.stream import FramePrediction
from posebench.skeleton import Skeleton
from posebench.tracking import OneEuro, Tracker

_RATE = 25.0  # frames a second, where times are not known: images of a folder


class Tracks:
    """Numbers people, and smooths their keypoints if asked to; numbers begin anew in each video.

    The images of a folder are taken for the frames of a video.
    """

    def __init__(self, skeleton: Skeleton, *, smooth: bool = False) -> None:
        self._skeleton, self._smooth = skeleton, smooth
        self._begin("")

    def _begin(self, sequence: str) -> None:
        self._sequence = sequence
        self._frames = 0
        self._tracker = Tracker(self._skeleton)
        self._filter = OneEuro() if self._smooth else None

    def add(self, prediction: FramePrediction) -> FramePrediction:
        """Return the prediction of the next frame with the numbers of its people."""
        sequence = _sequence(prediction)
        if sequence != self._sequence:
            self._begin(sequence)
        time_s = self._frames / _RATE if prediction.time_s is None else prediction.time_s
        self._frames += 1
        if prediction.error:
            return replace(prediction, numbers=())
        people = prediction.people
        keypoints = people.keypoints.double().numpy()
        numbers = self._tracker.update(keypoints, people.keypoint_scores.double().numpy(), time_s)
        if self._filter:
            keypoints = self._filter.update(numbers, keypoints, time_s)
            people = replace(people, keypoints=torch.from_numpy(keypoints))
        return replace(prediction, people=people, numbers=tuple(numbers))

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, as JSON has it."""
        return {
            "sequence": self._sequence,
            "frames": self._frames,
            "tracker": self._tracker.state(),
            "filter": self._filter.state() if self._filter else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where others were."""
        self._begin(state["sequence"])
        self._frames = int(state["frames"])
        self._tracker.restore(state["tracker"])
        if self._filter:
            self._filter.restore(state["filter"])


def _sequence(prediction: FramePrediction) -> str:
    is_image = prediction.origin is None or prediction.origin.source.kind == "image"
    return str(Path(prediction.source).parent) if is_image else prediction.source
