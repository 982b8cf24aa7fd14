"""The optional last step of DEKR: keypoints move to nearby peaks of their heatmaps.

Off in the released settings; the authors print a table with it.

Shapes: P people, K keypoints, H x W pixels of the network input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_PEAKS = 30  # of each heatmap
WINDOW = 5  # pixels, side of the window in which a peak is the highest
MAX_ABSORB_DISTANCE = 75.0  # pixels
ADJUST_RADIUS = 6  # pixels around the rounded place, to which a Gaussian is fitted
ADJUST_THRESHOLD = 0.05  # keypoint score above which a place is fitted
INITIAL_SIGMA = 2.0  # pixels


def match_to_peaks(poses: Floats, keypoint_scores: Floats, heatmaps: Floats) -> Floats:
    """Return the poses (P, K, 2) with their keypoints at peaks of the heatmaps.

    Args:
        poses: (P, K, 2) x, y in pixels of the network input.
        keypoint_scores: (P, K), which stay.
        heatmaps: (K, H, W).
    """
    return adjusted(absorbed(poses, heatmaps), keypoint_scores, heatmaps)


def absorbed(poses: Floats, heatmaps: Floats, max_distance: float = MAX_ABSORB_DISTANCE) -> Floats:
    """Return the poses with each keypoint at its heatmap's nearest peak, if one is near enough."""
    raise NotImplementedError


def adjusted(poses: Floats, keypoint_scores: Floats, heatmaps: Floats) -> Floats:
    """Return the poses with each keypoint at the centre of a Gaussian fitted to its heatmap."""
    raise NotImplementedError
