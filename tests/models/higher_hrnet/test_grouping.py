"""Grouping by tags, against the plain way and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from posebench.models.higher_hrnet.grouping import (
    Candidates,
    adjust,
    assign,
    find_candidates,
    group,
    refine,
)


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (3, 7), (7, 3), (30, 30)])
def test_an_assignment_costs_least(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        cost = rng.integers(0, 5, shape).astype(float) * 100 - rng.uniform(0, 1, shape)
        pairs = assign(cost.copy())
        assert len({column for _, column in pairs}) == len(pairs) == min(shape)
        rows, columns = linear_sum_assignment(cost)
        assert sum(cost[pair] for pair in pairs) == pytest.approx(cost[rows, columns].sum())


def plain_refine(
    people: np.ndarray, means: np.ndarray, heatmaps: np.ndarray, tags: np.ndarray
) -> np.ndarray:
    """Every person, every keypoint, every pixel, as published."""
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
def test_missing_keypoints_are_found_where_a_full_search_finds_them(
    size: int, spread: float
) -> None:
    rng = np.random.default_rng(0)
    heatmaps = rng.normal(0, 0.3, (3, 50, 67)).astype(np.float32)
    tags = rng.normal(0, spread, (3, size, 50, 67)).astype(np.float32)
    means = rng.normal(0, spread, (9, size)).astype(np.float32)
    people = np.zeros((9, 3, 3 + size), np.float32)
    people[::2, 1, 2] = 0.5  # these are there
    expected = plain_refine(people, means, heatmaps, tags)
    np.testing.assert_array_equal(refine(people, means, heatmaps, tags), expected)


def test_the_first_of_equal_pixels_is_taken() -> None:
    heatmaps = np.zeros((1, 40, 40), np.float32)
    heatmaps[0, 35, 3] = heatmaps[0, 2, 30] = heatmaps[0, 2, 31] = 0.5
    people = np.zeros((1, 1, 4), np.float32)
    tags = np.zeros((1, 1, 40, 40), np.float32)
    found = refine(people, np.zeros((1, 1), np.float32), heatmaps, tags)
    assert found[0, 0, :2].tolist() == [30.75, 2.25]  # the right neighbour is as high


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_maps_that_are_not_finite_do_not_lead_out_of_them(bad: float) -> None:
    rng = np.random.default_rng(0)
    heatmaps = rng.normal(0, 0.3, (3, 50, 67)).astype(np.float32)
    tags = rng.normal(0, 3.0, (3, 2, 50, 67)).astype(np.float32)
    heatmaps[0, 7] = tags[1, 0, :, 9] = bad
    heatmaps[2] = tags[2] = bad
    people = np.zeros((4, 3, 5), np.float32)
    means = rng.normal(0, 3.0, (4, 2)).astype(np.float32)
    found = refine(people, means, heatmaps, tags)
    x, y = found[..., 0], found[..., 1]
    assert ((x >= 0) & (x <= 67) & (y >= 0) & (y <= 50)).all()


def test_nothing_missing_is_nothing_done() -> None:
    people = np.ones((2, 3, 4), np.float32)
    maps = np.ones((3, 8, 8), np.float32)
    assert refine(people, np.zeros((2, 1), np.float32), maps, maps[:, None]) is not people


def candidates(*rows: list[tuple[float, float]]) -> Candidates:
    """Return candidates from (score, tag) pairs of each keypoint, at cells (n, 0)."""
    most = max(map(len, rows))
    scores = np.zeros((len(rows), most), np.float32)
    tags = np.zeros((len(rows), most, 1), np.float32)
    for k, row in enumerate(rows):
        for n, (score, tag) in enumerate(row):
            scores[k, n], tags[k, n, 0] = score, tag
    cells = np.zeros((len(rows), most, 2), np.int64)
    cells[..., 0] = np.arange(most)
    return Candidates(scores, cells, tags)


def test_keypoints_go_to_the_person_of_the_nearest_tag() -> None:
    found = candidates([(0.9, 1.0), (0.8, 5.0)], [(0.9, 5.1), (0.7, 1.1), (0.6, 20.0)])
    people, tags = group(found, (0, 1))
    assert people[:, 0, 2].tolist() == pytest.approx([0.9, 0.8, 0.0])
    assert people[:, 1, 2].tolist() == pytest.approx([0.7, 0.9, 0.6])
    assert [len(own) for own in tags] == [2, 2, 1]


def test_weak_candidates_are_nobody() -> None:
    people, tags = group(candidates([(0.1, 1.0)], [(0.05, 2.0)]), (0, 1))
    assert people.shape == (0, 2, 4)
    assert tags == []


def test_peaks_are_local_maxima_best_first() -> None:
    heatmaps = torch.zeros(1, 20, 30)
    heatmaps[0, 5, 7], heatmaps[0, 5, 9], heatmaps[0, 15, 20] = 0.6, 0.5, 0.9
    tags = torch.arange(600.0).view(1, 1, 20, 30)
    found = find_candidates(heatmaps, tags)
    assert found.scores[0, :3].tolist() == pytest.approx([0.9, 0.6, 0.0])
    assert found.cells[0, :2].tolist() == [[20, 15], [7, 5]]
    assert found.tags[0, :2, 0].tolist() == [15 * 30 + 20, 5 * 30 + 7]


def test_quarter_steps_go_down_and_left_on_ties() -> None:
    heatmaps = np.zeros((1, 5, 5), np.float32)
    heatmaps[0, 2, 2] = 1
    people = np.array([[[2, 2, 1.0, 0.0]]], np.float32)
    assert adjust(people, heatmaps)[0, 0, :2].tolist() == [2.25, 2.25]
    heatmaps[0, 2, 3] = heatmaps[0, 3, 2] = 0.5
    assert adjust(people, heatmaps)[0, 0, :2].tolist() == [2.75, 2.75]
