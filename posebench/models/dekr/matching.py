"""The optional last step of DEKR: keypoints move to nearby peaks of their heatmaps.

It is off in the released settings; the authors print a table of its results.

Shapes: P people, K keypoints, H x W pixels of the network input.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import leastsq

from posebench.models.dekr.gaussian_fit import errors, gradients

MAX_PEAKS = 30  # of a heatmap
PEAK_WINDOW = 5  # pixels, the side of the window in which a peak is the highest
MAX_DISTANCE = 75.0  # pixels, up to which a keypoint moves to a peak, or to a fit's centre
FIT_REACH = 6  # pixels from the rounded place, in which a Gaussian is fitted
FIT_SIGMA = 2.0  # pixels, with which the fit starts
MIN_SCORE = 0.05  # of a keypoint, above which a Gaussian is fitted
MAX_STEPS = 200  # of a fit; the published one has 1,000 evaluations, five for a step
CONVERGED = (1, 2, 3, 4)  # MINPACK's

Floats = NDArray[np.floating]


def match_to_peaks(poses: Floats, keypoint_scores: Floats, heatmaps: Floats) -> NDArray[np.float64]:
    """Return the poses (P, K, 2) with their keypoints at peaks of the heatmaps.

    Args:
        poses: (P, K, 2) x, y in network-input pixels.
        keypoint_scores: (P, K).
        heatmaps: (K, H, W).

    Source: the published code; the scores stay those at the regressed places.
    """
    return fit_gaussians(move_to_peaks(poses, heatmaps), keypoint_scores, heatmaps)


def move_to_peaks(
    poses: Floats, heatmaps: Floats, max_distance: float = MAX_DISTANCE
) -> NDArray[np.float64]:
    """Return the poses with each keypoint at the nearest peak of its heatmap, if one is near."""
    moved = np.array(poses, np.float64)
    window = np.ones((PEAK_WINDOW, PEAK_WINDOW), np.uint8)
    for k, heatmap in enumerate(heatmaps):
        y, x = np.nonzero((heatmap == cv2.dilate(heatmap, window)) & (heatmap > 0))
        best = np.argsort(-heatmap[y, x], kind="stable")[:MAX_PEAKS]
        peaks = np.stack([x[best], y[best]], 1)
        if not len(peaks):
            continue
        distances = np.linalg.norm(moved[:, None, k] - peaks, axis=2)  # (P, peaks)
        nearest = distances.argmin(1)
        near = distances.min(1) < max_distance
        moved[near, k] = peaks[nearest[near]]
    return moved


def fit_gaussians(
    poses: Floats, keypoint_scores: Floats, heatmaps: Floats, min_score: float = MIN_SCORE
) -> NDArray[np.float64]:
    """Return the poses with keypoints at the centres of Gaussians fitted to their heatmaps.

    A keypoint whose score is not above `min_score` stays, and so does one whose fit fails: it has
    not converged, or its centre is beyond MAX_DISTANCE.
    """
    fitted = np.array(poses, np.float64)
    for k, heatmap in enumerate(heatmaps):
        centres: dict[tuple[int, int], tuple[float, float] | None] = {}
        for person in np.flatnonzero(keypoint_scores[:, k] > min_score):
            x, y = np.rint(fitted[person, k]).astype(int).tolist()
            if (x, y) not in centres:
                centres[x, y] = _gaussian_centre(heatmap, x, y)
            centre = centres[x, y]
            if centre is not None:
                fitted[person, k] = centre
    return fitted


def _gaussian_centre(heatmap: Floats, x: int, y: int) -> tuple[float, float] | None:
    """Return x, y of a Gaussian fitted around a pixel; None: the fit fails."""
    height, width = heatmap.shape
    if not (0 <= x < width and 0 <= y < height):
        return None
    top, left = max(y - FIT_REACH, 0), max(x - FIT_REACH, 0)
    window = heatmap[top : y + FIT_REACH + 1, left : x + FIT_REACH + 1].astype(np.float64)
    # As published: the values run along the rows, the coordinates along the columns. In a square
    # that only exchanges x and y; a window that the border cuts is fitted at wrong places.
    rows, columns = np.divmod(np.arange(window.size), len(window))

    pixels = columns + float(left), rows + float(top), window.ravel()
    fit, *_, status = leastsq(
        errors,
        (heatmap[y, x], x, y, FIT_SIGMA),
        pixels,
        gradients,
        full_output=True,
        col_deriv=True,
        maxfev=MAX_STEPS,
    )
    # A slope without a peak has no best Gaussian: the centre runs away until a step gains too
    # little, to where the heatmap's last bit decides. The limit of steps ends most of these fits;
    # as published, the others would move keypoints a thousand pixels.
    converged = status in CONVERGED and np.hypot(fit[1] - x, fit[2] - y) <= MAX_DISTANCE
    return (float(fit[1]), float(fit[2])) if converged else None
