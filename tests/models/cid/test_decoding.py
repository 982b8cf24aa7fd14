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
