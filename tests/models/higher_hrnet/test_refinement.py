"""Refinement against a search of every pixel, and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest

from posebench.models.higher_hrnet.refinement import adjust, refine


def plain_refine(
    people: np.ndarray, means: np.ndarray, heatmaps: np.ndarray, tags: np.ndarray
) -> np.ndarray:
    """Return the people refined as published: every person, every keypoint, every pixel."""
    filled = people.copy()
    for person, mean in enumerate(means):
        for k, heatmap in enumerate(heatmaps):
            distance = np.sqrt(((tags[k] - mean[:, None, None]) ** 2).sum(0))
            y, x = np.unravel_index((heatmap - np.round(distance)).argmax(), heatmap.shape)
            height, width = heatmap.shape
            right, left = heatmap[y, min(x + 1, width - 1)], heatmap[y, max(x - 1, 0)]
            below, above = heatmap[min(y + 1, height - 1), x], heatmap[max(y - 1, 0), x]
            if people[person, k, 2] == 0 and heatmap[y, x] > 0:
                filled[person, k, :3] = (
                    x + 0.5 + (0.25 if right > left else -0.25),
                    y + 0.5 + (0.25 if below > above else -0.25),
                    heatmap[y, x],
                )
    return filled


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("spread", [0.3, 3.0, 50.0])
def test_missing_keypoints_equal_those_of_a_full_search(size: int, spread: float) -> None:
    rng = np.random.default_rng(0)
    heatmaps = rng.normal(0, 0.3, (3, 50, 67)).astype(np.float32)
    tags = rng.normal(0, spread, (3, size, 50, 67)).astype(np.float32)
    means = rng.normal(0, spread, (9, size)).astype(np.float32)
    people = np.zeros((9, 3, 3 + size), np.float32)
    people[::2, 1, 2] = 0.5  # not missing
    expected = plain_refine(people, means, heatmaps, tags)
    np.testing.assert_array_equal(refine(people, means, heatmaps, tags), expected)


def test_the_first_of_equal_pixels_is_taken() -> None:
    heatmaps = np.zeros((1, 40, 40), np.float32)
    heatmaps[0, 35, 3] = heatmaps[0, 2, 30] = heatmaps[0, 2, 31] = 0.5
    people = np.zeros((1, 1, 4), np.float32)
    tags = np.zeros((1, 1, 40, 40), np.float32)
    refined = refine(people, np.zeros((1, 1), np.float32), heatmaps, tags)
    assert refined[0, 0, :2].tolist() == [30.75, 2.25]  # the right neighbour is as high


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_keypoints_of_maps_that_are_not_finite_stay_inside(bad: float) -> None:
    rng = np.random.default_rng(0)
    heatmaps = rng.normal(0, 0.3, (3, 50, 67)).astype(np.float32)
    tags = rng.normal(0, 3.0, (3, 2, 50, 67)).astype(np.float32)
    heatmaps[0, 7] = tags[1, 0, :, 9] = bad
    heatmaps[2] = tags[2] = bad
    people = np.zeros((4, 3, 5), np.float32)
    means = rng.normal(0, 3.0, (4, 2)).astype(np.float32)
    refined = refine(people, means, heatmaps, tags)
    x, y = refined[..., 0], refined[..., 1]
    assert ((x >= 0) & (x <= 67) & (y >= 0) & (y <= 50)).all()


def test_complete_people_are_copied_unchanged() -> None:
    people = np.ones((2, 3, 4), np.float32)
    maps = np.ones((3, 8, 8), np.float32)
    refined = refine(people, np.zeros((2, 1), np.float32), maps, maps[:, None])
    np.testing.assert_array_equal(refined, people)
    assert refined is not people


def test_quarter_steps_go_left_and_up_on_ties() -> None:
    heatmaps = np.zeros((1, 5, 5), np.float32)
    heatmaps[0, 2, 2] = 1
    people = np.array([[[2, 2, 1.0, 0.0]]], np.float32)
    assert adjust(people, heatmaps)[0, 0, :2].tolist() == [2.25, 2.25]
    heatmaps[0, 2, 3] = heatmaps[0, 3, 2] = 0.5
    assert adjust(people, heatmaps)[0, 0, :2].tolist() == [2.75, 2.75]
