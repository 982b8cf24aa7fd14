"""Tracking by OKS: who of the people in this frame is who of the frames before.

Shapes: T people who are known, N people of a frame, K keypoints. Coordinates in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.layers.oks import similarity_exponent
from posebench.skeleton import Skeleton

Floats = NDArray[np.float64]

# The area that OKS divides by is that of the person's outline, in COCO about half of the box.
_AREA_OF_BOX = 0.53
# Keypoints that score less than this, relative to the person's highest, say little of its extent.
_SURE = 0.3


@dataclass(frozen=True)
class TrackerSettings:
    """How people are continued."""

    min_oks: float = 0.2  # between where a person should be and is
    memory_s: float = 1.5  # after which a person who was not seen is forgotten
    once_s: float = 0.3  # the same of a person who was seen in one frame only
    most_lost: int = 100  # people who are remembered without being seen
    # How fast where a lost person should be becomes uncertain: sides of the person a second, by
    # which its extent grows for OKS.
    drift: float = 1.0
    start_drift: float = 2.0  # the same of a person who was seen once, whose velocity is not known
    gain: float = 0.3  # of the newest frame in the velocity, from 0 (none) to 1 (alone)


@dataclass
class _Track:
    """A person who is known."""

    number: int
    keypoints: Floats  # (K, 2) when it was seen last
    certainty: Floats  # (K,) in [0, 1], relative to the highest
    velocity: Floats  # (2,) pixels a second, of the person as a whole
    seen_s: float  # when it was seen last
    frames: int = 1  # in which it was seen


_ARRAYS = ("keypoints", "certainty", "velocity")


class Tracker:
    """Gives the people of successive frames numbers; a person who is seen again keeps its own.

    A person moves on with the velocity at which it was seen last. Predicted and detected people
    are paired such that the sum of their OKS is highest (Hungarian method); keypoints count as
    their scores say. Who is not paired is remembered for a while, and who is new gets a new number.
    """

    def __init__(self, skeleton: Skeleton, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self._sigmas = np.array(skeleton.sigmas)
        self._tracks: list[_Track] = []
        self._next = 1

    def update(self, keypoints: Floats, keypoint_scores: Floats, time_s: float) -> list[int]:
        """Return the numbers of the people of a frame, from 1 on.

        Args:
            keypoints: (N, K, 2) pixels.
            keypoint_scores: (N, K), of any scale.
            time_s: when the frame is shown, seconds; people stand still in a frame that is not
                later than the one before.
        """
        self._forget(time_s)
        certainty = _relative(keypoint_scores)
        numbers = [0] * len(keypoints)
        known = self._tracks
        if known and len(keypoints):
            for old, new in self._pairs(keypoints, certainty, time_s):
                _continue(known[old], keypoints[new], certainty[new], time_s, self.settings.gain)
                numbers[new] = known[old].number
        for new, number in enumerate(numbers):
            if not number:
                numbers[new] = self._next
                still = np.zeros(2)
                self._tracks.append(
                    _Track(self._next, keypoints[new].copy(), certainty[new], still, time_s)
                )
                self._next += 1
        return numbers

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, as JSON has it."""
        tracks = [
            {name: value.tolist() if isinstance(value, np.ndarray) else value
             for name, value in asdict(track).items()}
            for track in self._tracks
        ]  # fmt: skip
        return {"next": self._next, "tracks": tracks}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another tracker was."""
        self._next = int(state["next"])
        self._tracks = [
            _Track(**{**track, **{name: np.array(track[name], np.float64) for name in _ARRAYS}})
            for track in state["tracks"]
        ]

    def _pairs(self, keypoints: Floats, certainty: Floats, time_s: float) -> list[tuple[int, int]]:
        """Return which known person is which of the frame, as indices."""
        from scipy.optimize import linear_sum_assignment

        similarity = self._similarity(keypoints, certainty, time_s)
        similarity[similarity < self.settings.min_oks] = 0
        rows, columns = linear_sum_assignment(similarity, maximize=True)
        return [
            (int(old), int(new))
            for old, new in zip(rows, columns, strict=True)
            if similarity[old, new] > 0
        ]

    def _similarity(self, keypoints: Floats, certainty: Floats, time_s: float) -> Floats:
        """Return the (T, N) OKS of where known people should be with those of the frame."""
        known = self._tracks
        gone = np.array([max(time_s - track.seen_s, 0.0) for track in known])
        velocity = np.stack([track.velocity for track in known])
        expected = np.stack([track.keypoints for track in known])
        expected = expected + (velocity * gone[:, None])[:, None]
        sure = np.stack([track.certainty for track in known])
        once = np.array([track.frames == 1 for track in known])
        drift = np.where(once, self.settings.start_drift, self.settings.drift)
        areas = np.maximum.outer(
            _areas(expected, sure) * (1 + drift * gone) ** 2,
            _areas(keypoints, certainty),
        )
        squared = ((expected[:, None] - keypoints[None]) ** 2).sum(-1)  # (T, N, K)
        weights = np.sqrt(sure[:, None] * certainty[None])
        each = np.exp(similarity_exponent(squared, areas, self._sigmas))
        return np.asarray((weights * each).sum(-1) / np.maximum(weights.sum(-1), 1e-9))

    def _forget(self, time_s: float) -> None:
        latest = max((track.seen_s for track in self._tracks), default=time_s)
        memory_s, once_s = self.settings.memory_s, self.settings.once_s
        kept = [
            track
            for track in self._tracks
            if time_s - track.seen_s
            <= (once_s if track.frames == 1 and track.seen_s < latest else memory_s)
        ]
        lost = sorted((t for t in kept if t.seen_s < latest), key=lambda t: t.seen_s)
        surplus = lost[: max(0, len(lost) - self.settings.most_lost)]
        dropped = {track.number for track in surplus}
        self._tracks = [track for track in kept if track.number not in dropped]


def _continue(
    track: _Track, keypoints: Floats, certainty: Floats, time_s: float, gain: float
) -> None:
    weights = np.sqrt(track.certainty * certainty)[:, None]
    moved = ((keypoints - track.keypoints) * weights).sum(0) / max(float(weights.sum()), 1e-9)
    # A clock that was set back, or two frames at a time, say nothing of how fast a person moves.
    if (elapsed := time_s - track.seen_s) > 0:
        # The second frame is the first that does.
        share = 1.0 if track.frames == 1 else gain
        track.velocity = (1 - share) * track.velocity + share * (moved / elapsed)
    track.keypoints, track.certainty = keypoints.copy(), certainty
    track.seen_s, track.frames = time_s, track.frames + 1


def _relative(keypoint_scores: Floats) -> Floats:
    """Return (N, K) scores relative to each person's highest: methods differ in their scale."""
    scores = np.nan_to_num(keypoint_scores).clip(0)
    return np.asarray(scores / np.maximum(scores.max(-1, keepdims=True, initial=0), 1e-9))


def _areas(keypoints: Floats, certainty: Floats) -> Floats:
    """Return the (N,) areas of people, from the boxes of their certain keypoints."""
    sure = (certainty >= _SURE)[..., None]
    low = np.where(sure, keypoints, np.inf).min(1)
    high = np.where(sure, keypoints, -np.inf).max(1)
    sides = np.maximum(np.where(np.isfinite(high - low), high - low, 0), 1.0)
    # A person seen from the side, or lying, is narrow, and no less large for that.
    longest = sides.max(1)
    return np.asarray(_AREA_OF_BOX * longest * np.maximum(sides.min(1), 0.4 * longest))
