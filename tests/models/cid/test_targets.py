"""CID's targets against hand-worked values; the published numbers are in tests/parity."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from posebench.models.cid.targets import build_targets, gaussian_radius, keep_people
from posebench.structures import Poses, box_corners
from tests.builders import make_poses

NO_JITTER = [torch.zeros(2, 2, dtype=torch.int64)]


def two_people(x: float, y: float) -> Poses:
    """Return people at (8, 8) and at (x, y), in cells, with all keypoints on these points."""
    keypoints = torch.tensor([[8.0, 8.0], [x, y]], dtype=torch.float64)[:, None].expand(2, 17, 2)
    boxes = torch.tensor([[4.0, 4.0, 8.0, 8.0], [x - 3, y - 3, 6.0, 6.0]], dtype=torch.float64)
    return Poses(keypoints, torch.full((2, 17), 2), boxes[:, 2:].prod(1), box_corners(boxes))


def full_mask(side: int) -> torch.Tensor:
    return torch.ones(1, 1, side, side, dtype=torch.bool)


def test_targets_peak_where_the_people_are() -> None:
    targets = build_targets([two_people(20, 24)], (32, 32), NO_JITTER, full_mask(32), min_area=0)
    assert targets.heatmaps[0, 0, 8, 8] == 1
    assert targets.heatmaps[0, 17, 24, 20] == 1
    # By increasing area: the second person is the smaller one.
    assert targets.people.tolist() == [[0, 24, 20], [0, 8, 8]]
    assert targets.instance_heatmaps[0, 3, 24, 20] == 1
    assert targets.instance_heatmaps[0, 3, 8, 8] == 0


def test_two_people_on_one_cell_are_one_instance() -> None:
    targets = build_targets([two_people(8, 8)], (32, 32), NO_JITTER, full_mask(32), min_area=0)
    assert targets.people.tolist() == [[0, 8, 8]]


def test_small_people_keep_their_keypoints_and_lose_their_centre() -> None:
    poses = two_people(20, 24)
    targets = build_targets([poses], (32, 32), NO_JITTER, full_mask(32), min_area=50)
    assert targets.people.tolist() == [[0, 8, 8]]
    assert targets.heatmaps[0, 0, 24, 20] == 1
    assert targets.heatmaps[0, 17, 24, 20] == 0


def test_jitter_moves_the_instance_and_not_its_centre_peak() -> None:
    jitter = [torch.tensor([[1, -1], [0, 0]])]
    targets = build_targets([two_people(20, 24)], (32, 32), jitter, full_mask(32), min_area=0)
    assert [0, 7, 9] in targets.people.tolist()
    assert targets.heatmaps[0, 17, 8, 8] == 1
    assert targets.heatmaps[0, 17, 7, 9] < 1


def test_jitter_that_leaves_the_map_is_dropped_whole() -> None:
    jitter = [torch.tensor([[0, 0], [1, -1]])]
    targets = build_targets([two_people(31, 24)], (32, 32), jitter, full_mask(32), min_area=0)
    assert [0, 24, 31] in targets.people.tolist()


def test_unlabelled_keypoints_are_masked() -> None:
    poses = two_people(20, 24)
    visibility = poses.visibility.clone()
    visibility[:, 5] = 0
    poses = replace(poses, visibility=visibility)
    targets = build_targets([poses], (32, 32), NO_JITTER, full_mask(32), min_area=0)
    assert not targets.instance_mask[:, 5].any()
    assert targets.instance_mask[:, 4].all()
    assert targets.heatmaps[0, 5].sum() == 0


def test_radius_of_a_square_box() -> None:
    # The tightest of CornerNet's three roots for a 10 x 10 box is the third as published:
    # a = 2.8, b = -28, c = -30; (b + sqrt(b^2 - 4 a c)) / 2.
    third = (-28 + math.sqrt(28**2 + 4 * 2.8 * 30)) / 2
    boxes = box_corners(torch.tensor([[0.0, 0.0, 10.0, 10.0]], dtype=torch.float64))
    assert gaussian_radius(boxes, (64, 64)).item() == math.floor(third)


def test_too_many_people_are_thinned_alike_for_one_seed() -> None:
    targets = build_targets(
        [make_poses(9, size=64)], (64, 64), [torch.zeros(9, 2)], full_mask(64), min_area=0
    )
    few = keep_people(targets, 4, seed=3)
    assert len(few.people) == len(few.instance_heatmaps) == len(few.instance_mask) == 4
    assert few.people.tolist() == keep_people(targets, 4, seed=3).people.tolist()
    assert all(person in targets.people.tolist() for person in few.people.tolist())
