"""Simulated detections of a model on some images."""

from __future__ import annotations

import numpy as np

from posebench.metrics.matching import Matches

IMAGES, PEOPLE = 60, 3


def make_matches(skill: float, seed: int) -> Matches:
    """Return detections of which a share of `skill` is right, the same at every threshold."""
    rng = np.random.default_rng(seed)
    count = IMAGES * PEOPLE
    found = np.broadcast_to(rng.random(count) < skill, (10, count)).copy()
    return Matches(
        rng.random(count), np.repeat(np.arange(IMAGES), PEOPLE), found, ~found,
        np.full(IMAGES, PEOPLE),
    )  # fmt: skip
