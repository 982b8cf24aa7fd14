"""Hungarian matching and focal terms by hand."""

from __future__ import annotations

import math

import pytest
import torch

from posebench.layers.matching import focal_cost, focal_loss, match


def test_pairs_have_the_least_total_cost() -> None:
    costs = torch.tensor([[[1.0, 2.0, 5.0], [2.0, 9.0, 5.0]]])
    [found] = match([costs], [2])
    # 2 + 2, not the nearest pair of all (1) and what it leaves (5).
    assert found.queries.tolist() == [[0, 1]]
    assert found.people.tolist() == [[1, 0]]


def test_kinds_are_matched_apart_and_people_are_counted_on() -> None:
    # Two sets of two boxes in two images, with one and two people; one set of three poses.
    boxes = torch.tensor([[[1.0, 0], [1, 0], [0, 1]], [[0.0, 1], [1, 0], [0, 1]]])
    poses = torch.tensor([[[2.0, 1, 3], [9, 9, 0], [0, 9, 9]]])
    by_boxes, by_poses = match([boxes, poses], [1, 2])
    assert by_boxes.sets.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert by_boxes.images.tolist() == [[0, 1, 1], [0, 1, 1]]
    assert by_boxes.queries.tolist() == [[1, 0, 1], [0, 0, 1]]
    assert by_boxes.people.tolist() == [[0, 2, 1], [0, 2, 1]]
    assert by_poses.sets.tolist() == [[0, 0, 0]]
    assert by_poses.queries.tolist() == [[1, 0, 2]]
    assert by_poses.people.tolist() == [[0, 2, 1]]


def test_more_people_than_predictions_leave_some_unmatched() -> None:
    costs = torch.arange(101.0)[None, :, None].expand(1, 101, 100)
    [matched] = match([costs], [101])
    assert matched.queries.tolist() == [list(range(100))]
    assert sorted(matched.people[0].tolist()) == list(range(100))


def test_a_diverged_network_is_matched_too() -> None:
    [matched] = match([torch.tensor([[[math.nan, 1.0, math.inf]]])], [1])
    assert matched.queries.tolist() == [[1]]


def test_nobody_is_matched_in_images_without_people() -> None:
    [boxes, poses] = match([torch.zeros(3, 0, 5), torch.zeros(2, 0, 4)], [0, 0])
    assert boxes.sets.shape == (3, 0)
    assert poses.people.shape == (2, 0)


def test_focal_terms_of_hand_worked_logits() -> None:
    score = 0.8
    logit = torch.tensor([math.log(score / (1 - score))])
    person = 0.25 * (1 - score) ** 2 * -math.log(score)
    nobody = 0.75 * score**2 * -math.log(1 - score)
    assert focal_loss(logit, torch.ones(1)).item() == pytest.approx(person)
    assert focal_loss(logit, torch.zeros(1)).item() == pytest.approx(nobody)
    assert focal_cost(logit).item() == pytest.approx(person - nobody, rel=1e-4)
