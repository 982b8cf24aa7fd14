"""Centres and keypoints of hand-made maps."""

from __future__ import annotations

import pytest
import torch

from posebench.models.cid.decoding import CIDOutputs, decode_instances, find_centres


def test_centre_window_grows_with_the_map() -> None:
    # Two peaks two cells apart survive a window of 3 and not one of 5.
    for side, count in ((100, 2), (220, 1)):
        centre_map = torch.zeros(1, side, side)
        centre_map[0, 50, 50], centre_map[0, 50, 52] = 0.9, 0.8
        people, scores = find_centres(centre_map, 3)
        assert len(people) == count
        assert people[0].tolist() == [0, 50, 50]
        assert scores[0] == pytest.approx((0.9 + 0.9 / 9) / 2)


def test_mmpose_moves_fewer_keypoints_at_the_border() -> None:
    """Right of and below each peak is its higher neighbour: both coordinates gain a quarter cell.

    By the rule of MMPose 1.x one in the first row or column stays, and one in the second stays
    along that axis. The last row and column are as the authors have them.
    """
    cells = [(3, 3), (1, 3), (3, 1), (0, 3), (3, 0), (7, 3)]  # x, y
    heatmaps = torch.zeros(1, len(cells), 8, 8)
    for number, (x, y) in enumerate(cells):
        heatmaps[0, number, y + 1, x] = heatmaps[0, number, y, min(x + 1, 7)] = 0.5
        heatmaps[0, number, y, x] = 0.9
    outputs = CIDOutputs(
        torch.zeros(1, 7, 8, 8), torch.zeros(1, 3), torch.tensor([0.5]), torch.zeros(1, 0), heatmaps
    )
    moved = {
        strict: ((decode_instances(outputs, 3, strict_border=strict)[0][0] - 2) / 4).tolist()
        for strict in (False, True)
    }
    q = 0.25
    inner = [[3 + q, 3 + q], [1 + q, 3 + q], [3 + q, 1 + q]]
    assert moved[False] == [*inner, [0, 3 + q], [3 + q, 0], [7, 3 + q]]
    assert moved[True] == [[3 + q, 3 + q], [1, 3 + q], [3 + q, 1], [0, 3], [3, 0], [7, 3 + q]]


def test_ties_and_borders_do_not_move_a_keypoint() -> None:
    heatmaps = torch.zeros(1, 3, 8, 8)
    heatmaps[0, 0, 4, 4] = 0.9
    heatmaps[0, 1, 0, 4] = 0.9
    heatmaps[0, 1, 0, 5] = 0.5  # right of a peak in the first row
    heatmaps[0, 2, 4, 4], heatmaps[0, 2, 5, 4] = 0.9, 0.5
    outputs = CIDOutputs(
        torch.zeros(1, 4, 8, 8), torch.zeros(1, 3), torch.tensor([0.5]), torch.zeros(1, 0), heatmaps
    )
    keypoints, scores = decode_instances(outputs, 3)
    assert keypoints[0].tolist() == [[18.0, 18.0], [19.0, 2.0], [18.0, 19.0]]
    assert scores[0, 0].item() == pytest.approx(0.5 * (0.9 + 0.9 / 9) / 2)
