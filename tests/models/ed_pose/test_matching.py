"""ED-Pose's matching by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import box_convert, generalized_box_iou

from posebench.layers.pose_sets import PoseSets
from posebench.models.ed_pose.matching import box_costs, generalized_iou, match, pose_costs

LEFT, RIGHT = torch.tensor([0.2, 0.5, 0.2, 0.2]), torch.tensor([0.4, 0.5, 0.2, 0.2])


def test_generalised_iou_of_neighbours() -> None:
    # Equal boxes; boxes that touch; boxes with a gap as wide as they are, a third of their hull.
    assert generalized_iou(LEFT, LEFT).item() == pytest.approx(1.0, abs=1e-4)
    assert generalized_iou(LEFT, RIGHT).item() == pytest.approx(0.0, abs=1e-4)
    far = torch.tensor([0.6, 0.5, 0.2, 0.2])
    assert generalized_iou(LEFT, far).item() == pytest.approx(-1 / 3, abs=1e-4)
    half = torch.tensor([0.3, 0.5, 0.2, 0.2])
    assert generalized_iou(LEFT, half).item() == pytest.approx(1 / 3, abs=1e-4)


def test_generalised_iou_is_torchvisions_but_for_the_small_number() -> None:
    torch.manual_seed(0)
    boxes, others = torch.rand(5, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64)
    corners = (box_convert(each, "cxcywh", "xyxy") for each in (boxes, others))
    expected = generalized_box_iou(*corners)
    torch.testing.assert_close(generalized_iou(boxes[:, None], others), expected, rtol=0, atol=1e-3)


def test_cost_of_a_box_by_hand() -> None:
    logits = torch.zeros(1, 1, 2)
    [[[cost]]] = box_costs(logits, LEFT.view(1, 1, 4), RIGHT[None]).tolist()
    focal = (0.25 - 0.75) * math.log(2) / 4
    assert cost == pytest.approx(2 * focal + 5 * 0.2 - 2 * 0.0, abs=1e-4)


def test_boxes_do_not_count_in_costs_of_poses() -> None:
    truth = torch.tensor([[[0.2, 0.2], [0.4, 0.6]]])
    visible = torch.tensor([[True, False]])
    targets = PoseSets([truth], [visible], [torch.tensor([0.09])], [LEFT[None]])
    predicted = truth + torch.tensor([[0.03, 0.0], [0.5, 0.5]])
    costs = pose_costs(torch.zeros(1, 1, 2), predicted[None], targets, 0, torch.tensor([0.1, 0.1]))
    focal = (0.25 - 0.75) * math.log(2) / 4
    oks = math.exp(-(0.03**2) / (2 * 0.09 * 0.2**2))
    assert costs.item() == pytest.approx(2 * focal + 10 * 0.03 + 4 * (1 - oks), rel=1e-4)


def test_groups_are_matched_apart_and_people_are_counted_on() -> None:
    # Two sets of two boxes in two images, with one and two people; one set of three poses.
    boxes = [torch.tensor([[[1.0], [0.0]], [[0.0], [1.0]]]), torch.eye(2).expand(2, 2, 2)]
    poses = [torch.tensor([[[2.0], [1.0], [3.0]]]), torch.tensor([[[9.0, 0], [9, 9], [0, 9]]])]
    by_boxes, by_poses = match([boxes, poses])
    assert by_boxes.sets.tolist() == [0, 1, 0, 0, 1, 1]
    assert by_boxes.images.tolist() == [0, 0, 1, 1, 1, 1]
    assert by_boxes.queries.tolist() == [1, 0, 0, 1, 0, 1]
    assert by_boxes.people.tolist() == [0, 0, 2, 1, 2, 1]
    assert by_poses.sets.tolist() == [0, 0, 0]
    assert by_poses.queries.tolist() == [1, 0, 2]
    assert by_poses.people.tolist() == [0, 2, 1]


def test_more_people_than_predictions_leave_some_unmatched() -> None:
    costs = torch.arange(101.0)[None, None].expand(1, 100, 101)
    [matched] = match([[costs]])
    assert matched.queries.tolist() == list(range(100))
    assert sorted(matched.people.tolist()) == list(range(100))


def test_a_diverged_network_is_matched_too() -> None:
    [matched] = match([[torch.tensor([[[math.nan], [1.0]]])]])
    assert matched.queries.tolist() == [1]


def test_nobody_is_matched_in_images_without_people() -> None:
    [boxes, poses] = match([[torch.zeros(3, 5, 0)], [torch.zeros(2, 4, 0)]])
    assert boxes.sets.shape == poses.people.shape == (0,)
