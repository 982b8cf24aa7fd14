"""Keypoints without jitter: the One Euro filter, for each person and keypoint.

Source: Casiez, Roussel, Vogel: 1 Euro Filter, CHI 2012.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OneEuroSettings:
    """How much is smoothed: less jitter, or less lag."""

    min_cutoff_hz: float = 1.0  # of a keypoint at rest; lower: less jitter
    beta: float = 2.0  # Hz by which the cutoff rises for each side of the person a second
    speed_cutoff_hz: float = 1.0  # of the speed itself
    memory_s: float = 2.0  # after which a person who was not seen is forgotten


class OneEuro:
    """Smooths the keypoints of numbered people; fast movements are followed, rest is calmed."""

    def __init__(self, settings: OneEuroSettings | None = None) -> None:
        self.settings = settings or OneEuroSettings()
        # Of each person: when it was seen, where (K, 2), and how fast (K, 2) pixels a second.
        self._people: dict[int, tuple[float, Floats, Floats]] = {}

    def update(self, numbers: Sequence[int], keypoints: Floats, time_s: float) -> Floats:
        """Return the smoothed keypoints of a frame.

        Args:
            numbers: of the N people, from a tracker.
            keypoints: (N, K, 2) pixels.
            time_s: when the frame is shown.
        """
        smoothed = keypoints.copy()
        for row, number in enumerate(numbers):
            known = self._people.get(number)
            if known is None or time_s <= known[0]:
                self._people[number] = time_s, keypoints[row].copy(), np.zeros_like(keypoints[row])
                continue
            smoothed[row] = self._smooth(number, keypoints[row], time_s)
        self._people = {
            number: one
            for number, one in self._people.items()
            if time_s - one[0] <= self.settings.memory_s
        }
        return smoothed

    def _smooth(self, number: int, keypoints: Floats, time_s: float) -> Floats:
        before_s, before, speed = self._people[number]
        elapsed = time_s - before_s
        share = _share(np.asarray(self.settings.speed_cutoff_hz), elapsed)
        speed = share * (keypoints - before) / elapsed + (1 - share) * speed
        # Relative to the person, so that the settings suit people of any size.
        side = max(float(np.ptp(keypoints, axis=0).max()), 1.0)
        fast = np.linalg.norm(speed, axis=-1, keepdims=True) / side
        share = _share(self.settings.min_cutoff_hz + self.settings.beta * fast, elapsed)
        after = np.asarray(share * keypoints + (1 - share) * before)
        self._people[number] = time_s, after, np.asarray(speed)
        return after

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, as JSON has it."""
        return {
            str(number): [seen, where.tolist(), speed.tolist()]
            for number, (seen, where, speed) in self._people.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another filter was."""
        self._people = {
            int(number): (seen, np.array(where, np.float64), np.array(speed, np.float64))
            for number, (seen, where, speed) in state.items()
        }


def _share(cutoff_hz: Floats, elapsed_s: float) -> Floats:
    """Return the share of the newest value in a low-pass filter."""
    relative = 2 * math.pi * cutoff_hz * elapsed_s
    return np.asarray(relative / (relative + 1))
