"""PoseDet's targets against hand-worked values; the published numbers are in tests/parity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posebench.models.posedet.recipes import Similarity
from posebench.models.posedet.targets import (
    BACKGROUND,
    IGNORED,
    assign_by_oks,
    assign_nearest,
    build_targets,
    by_threshold,
    candidate_grid,
)
from posebench.skeleton import COCO
from posebench.structures import Poses, box_corners
from tests.builders import make_sample
from tests.models.posedet.networks import SIZES, STRIDES


def person(*points: tuple[float, float], box: tuple[float, float, float, float]) -> Poses:
    """Return one person with these labelled keypoints in a box x, y, width, height."""
    keypoints = torch.tensor([points], dtype=torch.float64)
    corners = box_corners(torch.tensor([box], dtype=torch.float64))
    labels = torch.ones(1, len(points), dtype=torch.int64)
    return Poses(keypoints, labels, torch.tensor([box[2] * box[3]]).double(), corners)


def both(first: Poses, second: Poses) -> Poses:
    return Poses(
        *(
            torch.cat([getattr(first, name), getattr(second, name)])
            for name in ("keypoints", "visibility", "area", "boxes")
        )
    )


def test_heatmaps_do_not_count_in_the_boxes_of_people_without_labels() -> None:
    boxes = box_corners(torch.tensor([[-20.0, 17, 40, 16]], dtype=torch.float64))
    poses = replace(make_sample(1).poses, unlabelled=boxes)
    masks = build_targets([poses], SIZES, STRIDES, centroid="keypoints").masks
    expected = torch.ones(16, 16, dtype=torch.bool)
    expected[2:4, :2] = False
    assert masks[0][0, 0].equal(expected)
    # At stride 16 the box is rows 1 to 2.06 and columns up to 1.25.
    assert (~masks[1][0, 0]).nonzero().tolist() == [[1, 0]]


def nearest(
    poses: Poses, centroid: str = "keypoints", person_cells: int = 4
) -> list[tuple[int, ...]]:
    """Return person, x, y, stride of every candidate that is somebody's."""
    assigned = assign_nearest(poses, SIZES, STRIDES, centroid, person_cells=person_cells)
    grid = candidate_grid(SIZES, STRIDES, torch.zeros(()))
    return [
        (int(assigned[i]), *(int(v) for v in grid.points[i]), int(grid.stride[i]))
        for i in (assigned >= 0).nonzero()[:, 0].tolist()
    ]


def test_a_person_goes_to_the_level_of_its_size_and_to_its_centre() -> None:
    small = person((10, 10), (30, 50), (50, 60), box=(0, 0, 60, 80))
    large = person((10, 10), (100, 50), (90, 120), box=(0, 0, 60, 80))
    assert nearest(small) == [(0, 32, 40, 8)]
    assert nearest(large) == [(0, 64, 64, 16)]
    assert nearest(large, person_cells=8) == [(0, 64, 56, 8)]
    assert nearest(small, "box") == [(0, 32, 40, 8)]
    assert nearest(person((10, 10), (30, 50), (50, 60), box=(0, 0, 90, 80)), "box") == [
        (0, 48, 40, 8)
    ]
    few = replace(small, visibility=torch.tensor([[1, 1, 0]]))
    assert nearest(few) == []


def test_a_candidate_is_given_to_the_nearer_of_two() -> None:
    first = person((10, 10), (30, 50), (50, 57), box=(0, 0, 60, 60))
    second = person((10, 12), (30, 50), (50, 57), box=(0, 0, 60, 60))
    # Their means are 1 and 0.33 pixels from (32, 40) in height.
    assert nearest(both(first, second)) == [(1, 32, 40, 8)]
    assert nearest(both(second, first)) == [(0, 32, 40, 8)]
    assert nearest(both(first, first)) == [(0, 32, 40, 8)]


def test_a_grid_first_made_in_inference_serves_training() -> None:
    sizes = ((3, 5), (2, 3))
    with torch.inference_mode():
        candidate_grid(sizes, (8, 16), torch.zeros(()))
    grid = candidate_grid(sizes, (8, 16), torch.zeros(()))
    weight = torch.ones((), requires_grad=True)
    (weight * grid.cells / grid.stride[:, None]).sum().backward()
    assert grid.level.tolist() == [0] * 15 + [1] * 6
    assert grid.stride.tolist() == [8] * 15 + [16] * 6
    assert grid.points[7].tolist() == [16, 8] and grid.points[-1].tolist() == [32, 16]


def test_several_candidates_may_learn_a_person() -> None:
    def assigned(poses: Poses, candidates: int) -> dict[tuple[int, int], int]:
        found = assign_nearest(poses, SIZES, STRIDES, "keypoints", candidates=candidates)
        points = candidate_grid(SIZES, STRIDES, torch.zeros(())).points
        chosen = (found >= 0).nonzero()[:, 0]
        places = (tuple(map(int, point)) for point in points[chosen].tolist())
        return dict(zip(places, found[chosen].tolist(), strict=True))  # type: ignore[arg-type]

    # The mean is (30, 39.3); in a square box the nearest are those in pixels.
    alone = person((10, 10), (30, 50), (50, 58), box=(0, 0, 60, 60))
    assert assigned(alone, 3) == {(32, 40): 0, (24, 40): 0, (32, 32): 0}
    # A second person's mean is (34, 39.3): each has the candidates it is nearer to.
    second = person((14, 10), (34, 50), (54, 58), box=(0, 0, 60, 60))
    found = assigned(both(alone, second), 3)
    assert found == {(24, 40): 0, (32, 40): 0, (32, 32): 0, (40, 40): 1}
    # A level of one candidate has no more.
    single = assign_nearest(alone, [(1, 1)], (8,), "keypoints", candidates=3)
    assert single.tolist() == [0]


def test_similarities_of_the_config_decide() -> None:
    sample = make_sample(1)
    poses = sample.poses
    targets = build_targets([poses], SIZES, STRIDES, centroid="keypoints")
    coarse = torch.full((1, targets.coarse.shape[1], 17, 2), -1e4)
    coarse[0, :2] = poses.keypoints[0].float()
    coarse[0, 1, : 17 // 2] = -1e4  # 9 of 17 keypoints are there
    found = assign_by_oks(coarse, targets, COCO)
    assert found.scored[0, :2].tolist() == [0, IGNORED]
    assert found.refined[0, :2].tolist() == [0, BACKGROUND]
    found = assign_by_oks(coarse, targets, COCO, Similarity(0.5, 0.5, positive=0.5, negative=0.4))
    assert found.scored[0, :3].tolist() == [0, 0, BACKGROUND]
    assert found.refined[0, :3].tolist() == [0, 0, BACKGROUND]


def test_people_by_similarity() -> None:
    similarity = torch.tensor([[0.9, 0.1], [0.65, 0.2], [0.3, 0.55], [0.1, 0.55], [0.2, 0.1]])
    people = torch.tensor([4, 7])
    assert by_threshold(similarity, people, 0.7, 0.7, 0.52).tolist() == [
        4,
        BACKGROUND,
        7,
        7,
        BACKGROUND,
    ]
    assert by_threshold(similarity, people, 0.6, 0.5).tolist() == [
        4,
        4,
        IGNORED,
        IGNORED,
        BACKGROUND,
    ]
    assert by_threshold(similarity, people, 0.7, 0.7, 0.56).tolist()[2:4] == [
        BACKGROUND,
        BACKGROUND,
    ]


@pytest.mark.parametrize(
    ("visible", "others", "expected"),
    [(17, 0, "both"), (2, 0, "ignored"), (0, 1, "ignored"), (0, 0, "nobody")],
)
def test_where_nobody_has_keypoints_nothing_is_known(
    visible: int, others: int, expected: str
) -> None:
    poses = make_sample(1).poses
    poses = poses[:1] if visible else poses[:0]
    visibility = poses.visibility.clone()
    visibility[:, visible:] = 0
    boxes = make_sample(others).poses.boxes
    poses = replace(poses, visibility=visibility, unlabelled=boxes)
    targets = build_targets([poses], SIZES, STRIDES, centroid="keypoints")
    coarse = torch.randn(1, len(targets.coarse[0]), 17, 2)
    if len(poses):
        coarse[0, 5] = poses.keypoints[0].float()
    scored = assign_by_oks(coarse, targets, COCO).scored
    values = {"both": {0, BACKGROUND}, "ignored": {IGNORED}, "nobody": {BACKGROUND}}
    assert set(scored.unique().tolist()) == values[expected]
