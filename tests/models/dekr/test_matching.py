"""Matching of DEKR's poses to peaks of hand-made heatmaps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from posebench.models.dekr.matching import fit_gaussians, match_to_peaks, move_to_peaks


def heatmap(*centres: tuple[float, float], sigma: float = 3.0) -> NDArray[np.float64]:
    """Return one map (1, 40, 60) with Gaussians."""
    y, x = np.mgrid[:40, :60]
    peaks = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy in centres]
    return np.max(peaks, 0)[None]


def test_a_keypoint_moves_to_the_nearest_peak_that_is_near_enough() -> None:
    maps = heatmap((10, 20), (40, 20))
    poses = np.array([[[14.0, 20.0]], [[30.0, 22.0]], [[59.0, 39.0]]])
    moved = move_to_peaks(poses, maps, max_distance=12.0)
    assert moved[:, 0].tolist() == [[10, 20], [40, 20], [59, 39]]
    assert poses[0, 0].tolist() == [14, 20]


def test_only_the_thirty_highest_peaks_count() -> None:
    maps = np.zeros((1, 40, 200))
    maps[0, 20, 3 : 3 + 31 * 6 : 6] = np.linspace(1, 0.5, 31)
    poses = np.array([[[3 + 30 * 6.0, 20.0]]])
    assert move_to_peaks(poses, maps)[0, 0].tolist() == [3 + 29 * 6, 20]


def test_a_map_without_peaks_moves_nothing() -> None:
    poses = np.array([[[14.0, 20.0]]])
    np.testing.assert_array_equal(move_to_peaks(poses, np.zeros((1, 40, 60))), poses)


def test_a_gaussian_is_found_to_a_fraction_of_a_pixel() -> None:
    maps = heatmap((20.3, 15.8), sigma=2.7)
    poses = np.array([[[21.0, 16.0]], [[21.2, 15.9]], [[22.0, 15.0]]])
    scores = np.array([[0.9], [0.9], [0.05]])
    fitted = fit_gaussians(poses, scores, maps)
    assert fitted[:2, 0] == pytest.approx(np.array([[20.3, 15.8]] * 2), abs=1e-5)
    assert fitted[2, 0].tolist() == [22, 15]  # its score is not above the threshold


def test_people_on_one_pixel_share_a_fit() -> None:
    maps = heatmap((20.3, 15.8)) + 0.01 * heatmap((26.0, 20.0))
    poses = np.array([[[20.4, 16.4]], [[19.6, 15.6]]])
    fitted = fit_gaussians(poses, np.ones((2, 1)), maps)
    assert fitted[0, 0].tolist() == fitted[1, 0].tolist()


def test_keypoints_outside_and_failed_fits_stay() -> None:
    poses = np.array([[[-20.0, 16.0]], [[30.0, 20.0]]])
    flat = np.zeros((1, 40, 60))
    flat[0, 20, 30] = -1.0
    np.testing.assert_array_equal(fit_gaussians(poses[:1], np.ones((1, 1)), flat), poses[:1])


def test_a_slope_without_a_peak_moves_nothing() -> None:
    """The best Gaussian's centre is infinitely far; the fit gives up at x = 361."""
    y, x = np.mgrid[:40, :60]
    slope = np.exp(x / 60 - 1) * (1 + 0.2 * np.cos(x) * np.cos(y))
    poses = np.array([[[30.0, 20.0]]])
    np.testing.assert_array_equal(fit_gaussians(poses, np.ones((1, 1)), slope[None]), poses)


def test_both_steps_after_one_another() -> None:
    maps = heatmap((20.3, 15.8))
    matched = match_to_peaks(np.array([[[30.0, 10.0]]]), np.ones((1, 1)), maps)
    assert matched[0, 0] == pytest.approx([20.3, 15.8], abs=1e-5)
