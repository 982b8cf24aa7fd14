"""Candidates and their grouping by tags, against hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posebench.models.higher_hrnet.grouping import Candidates, find_candidates, group


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
    crowd = candidates([(0.9, 1.0), (0.8, 5.0)], [(0.9, 5.1), (0.7, 1.1), (0.6, 20.0)])
    people, tags = group(crowd, (0, 1))
    assert people[:, 0, 2].tolist() == pytest.approx([0.9, 0.8, 0.0])
    assert people[:, 1, 2].tolist() == pytest.approx([0.7, 0.9, 0.6])
    assert [len(own) for own in tags] == [2, 2, 1]


def test_weak_candidates_start_no_person() -> None:
    people, tags = group(candidates([(0.1, 1.0)], [(0.05, 2.0)]), (0, 1))
    assert people.shape == (0, 2, 4)
    assert tags == []


def test_peaks_are_local_maxima_best_first() -> None:
    heatmaps = torch.zeros(1, 20, 30)
    heatmaps[0, 5, 7], heatmaps[0, 5, 9], heatmaps[0, 15, 20] = 0.6, 0.5, 0.9
    tags = torch.arange(600.0).view(1, 1, 20, 30)
    peaks = find_candidates(heatmaps, tags)
    assert peaks.scores[0, :3].tolist() == pytest.approx([0.9, 0.6, 0.0])
    assert peaks.cells[0, :2].tolist() == [[20, 15], [7, 5]]
    assert peaks.tags[0, :2, 0].tolist() == [15 * 30 + 20, 5 * 30 + 7]
