"""DEKR's suppression of hand-made poses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from posebench.models.dekr.suppression import kept

SQUARE = np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 40.0], [30.0, 40.0]])  # the diagonal is 50


def people(*shifts: float) -> NDArray[np.float64]:
    """Return squares that are moved to the right."""
    return SQUARE + np.array([[[shift, 0.0]] for shift in shifts])


def test_of_a_group_the_pose_with_the_highest_heat_is_kept() -> None:
    poses, heat = people(0, 1, 100), np.array([0.3, 0.5, 0.1])
    assert kept(poses, heat, 0.05, 2).tolist() == [1, 2]


@pytest.mark.parametrize(("shift", "count"), [(2.49, 1), (2.5, 2)])
def test_near_is_closer_than_a_share_of_the_diagonal(shift: float, count: int) -> None:
    assert len(kept(people(0, shift), np.array([0.3, 0.5]), 0.05, 2)) == count


@pytest.mark.parametrize(("moved", "count"), [(1, 1), (2, 2)])
def test_more_keypoints_than_the_limit_must_be_close(moved: int, count: int) -> None:
    poses = people(0, 1)
    poses[1, :moved] += 100
    assert len(kept(poses, np.array([0.3, 0.5]), 0.05, 2)) == count


def test_a_group_whose_best_was_removed_before_is_neither_kept_nor_removed() -> None:
    # 1 is near 0 and 2; 0 keeps 0, by which 1 is removed; 2 finds 1 the best, which is gone.
    poses, heat = people(0, 2, 4), np.array([0.9, 0.5, 0.3])
    assert kept(poses, heat, 0.05, 2).tolist() == [0]
    # With 2 hotter than 1 it is kept.
    assert kept(poses, np.array([0.9, 0.3, 0.5]), 0.05, 2).tolist() == [0, 2]


def test_near_depends_on_the_one_that_is_visited() -> None:
    small = 0.5 * SQUARE + np.array([7.5, 10.0])  # in the middle of the square
    large = SQUARE.copy()
    # Corners are 12.5 apart: less than 0.3 of the large diagonal, more than 0.3 of the small one.
    assert kept(np.stack([small, large]), np.array([0.3, 0.5]), 0.3, 2).tolist() == [0, 1]
    assert kept(np.stack([large, small]), np.array([0.5, 0.3]), 0.3, 2).tolist() == [0]


def test_a_pose_on_one_point_is_kept_once() -> None:
    point = np.full((1, 4, 2), 7.0)
    assert kept(point, np.array([0.5]), 0.05, 2).tolist() == [0]
    poses = np.concatenate([people(0), point, people(100)])
    assert kept(poses, np.array([0.5, 0.4, 0.3]), 0.05, 2).tolist() == [0, 1, 2]


def test_nobody_is_kept_of_nobody() -> None:
    assert kept(np.zeros((0, 4, 2)), np.zeros(0), 0.05, 2).tolist() == []
