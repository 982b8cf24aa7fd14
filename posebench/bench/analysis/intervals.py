"""Intervals of AP and of its changes: every file is matched once, and all use the same resamples.

Shapes: R resamples, I images.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property

import numpy as np

from posebench.bench.statistics import Interval, image_resamples, limits
from posebench.metrics.matching import Flags, Floats, Matches
from posebench.metrics.resampling import resampled_ap

_NAN = float("nan")
_FEW = 400


class Resamples:
    """Images drawn with replacement, as a comparison draws them.

    Args:
        num_images: how many images there are, and are drawn each time.
        draws: number of resamples; 0: no intervals.
        seed: of the draws.
    """

    def __init__(self, num_images: int, draws: int, seed: int) -> None:
        self.draws = draws
        # (R, I) how often each image was drawn.
        self.weights = image_resamples(num_images, draws, seed)[1]

    @cached_property
    def few(self) -> Resamples:
        """The first 400 of the resamples, for what is shown beside the costs."""
        few = copy(self)
        few.weights = self.weights[:_FEW]
        few.draws = len(few.weights)
        return few

    def ap(self, matches: Matches, images: Flags | None = None) -> Floats | None:
        """Return the (R,) AP of each resample; None without resamples.

        Args:
            matches: what was found, of the images in the order of their ids.
            images: (I,) True for the images that count; None: all.
        """
        if not self.draws:
            return None
        if images is not None:
            matches = matches.of_images(images)
        return resampled_ap([matches], [self.weights])


def interval(value: float, samples: Floats | None) -> Interval:
    """Return a value with the limits of its resamples, which are nan without any."""
    if samples is None or np.isnan(samples).all():
        return Interval(value, _NAN, _NAN)
    return Interval(value, *limits(samples))
