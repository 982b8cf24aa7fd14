"""Peaks of centre maps, by hand-worked maps."""

from __future__ import annotations

import pytest
import torch

from posebench.layers.centres import MAX_CENTRES, best_peaks, centre_slots, find_peaks


def test_peaks_are_best_first_in_each_image() -> None:
    maps = torch.zeros(2, 8, 9)
    maps[0, 2, 3], maps[0, 2, 4], maps[0, 6, 8] = 0.5, 0.4, 0.9  # the second is beside the first
    maps[1, 0, 0], maps[1, 5, 5] = 0.01, 0.011  # not above the least score, and above it
    people, scores = find_peaks(maps)
    assert people.tolist() == [[0, 6, 8], [0, 2, 3], [1, 5, 5]]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.5, 0.011]))


@pytest.mark.parametrize(("size", "apart"), [((190, 210), 2), ((190, 212), 3), ((302, 300), 4)])
def test_the_window_grows_with_the_map(size: tuple[int, int], apart: int) -> None:
    for distance, count in ((apart - 1, 1), (apart, 2)):
        maps = torch.zeros(1, *size)
        maps[0, 50, 50], maps[0, 50, 50 + distance] = 0.5, 0.4
        people, _ = find_peaks(maps)
        assert len(people) == count
        _, slots = centre_slots(maps)
        assert int((slots > 0).sum()) == count


def test_the_number_of_peaks_does_not_depend_on_the_map() -> None:
    scores, cells = best_peaks(torch.zeros(3, 12, 12))
    assert scores.shape == cells.shape == (3, MAX_CENTRES)
    scores, _ = best_peaks(torch.zeros(1, 4, 4))
    assert scores.shape == (1, 16)
    people, _ = find_peaks(torch.zeros(3, 12, 12))
    assert people.shape == (0, 3)
