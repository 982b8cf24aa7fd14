"""ED-Pose's noise queries by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebench.models.ed_pose.denoising import LABELS, NOBODY, Draws, draw, noisy_people, shifted

BOXES = torch.tensor([[0.3, 0.4, 0.2, 0.4], [0.7, 0.6, 0.1, 0.2]])


def still(people: Tensor, queries: int) -> Draws:
    """Return draws that change neither labels nor boxes."""
    return Draws(
        people=[people],
        boxes=torch.full((1, queries, 4), 0.25),
        label_uniform=torch.full((1, queries), 0.9),
        labels=torch.full((1, queries), 7),
        box_uniform=torch.full((1, queries, 4), 0.5),
    )


def test_people_take_turns_and_the_last_group_is_drawn() -> None:
    noisy = noisy_people([BOXES], still(torch.tensor([1]), 5))
    assert noisy.clean_boxes[0].equal(BOXES[[0, 1, 0, 1, 1]])
    torch.testing.assert_close(noisy.boxes, noisy.clean_boxes, rtol=0, atol=3e-3)
    groups = torch.tensor([0, 0, 1, 1, 2])
    assert noisy.sees[0].equal(groups[:, None] == groups)
    assert noisy.labels.eq(1).all()
    assert noisy.is_person.all()


def test_labels_are_exchanged_where_the_draw_is_below_a_half() -> None:
    draws = still(torch.tensor([1]), 5)
    uniform = torch.tensor([[0.1, 0.5, 0.49, 0.9, 0.0]])
    noisy = noisy_people([BOXES], replace(draws, label_uniform=uniform))
    assert noisy.labels.tolist() == [[7, 1, 7, 1, 7]]
    assert noisy.is_person.all()  # the clean label is learned


def test_boxes_move_by_half_of_what_their_sides_change() -> None:
    box = torch.tensor([0.5, 0.5, 0.2, 0.4])
    largest = shifted(box, torch.ones(4))
    assert largest.tolist() == pytest.approx([0.54, 0.58, 0.28, 0.56])
    assert shifted(box, torch.zeros(4)).tolist() == pytest.approx([0.46, 0.42, 0.12, 0.24])
    outside = shifted(torch.tensor([0.95, 0.02, 0.9, 0.5]), torch.tensor([1.0, 0.0, 1.0, 0.5]))
    assert outside.tolist() == pytest.approx([1.0, 0.0, 1.0, 0.5])


def test_nobody_gets_random_boxes_and_one_group() -> None:
    noisy = noisy_people([torch.zeros(0, 4)], still(torch.zeros(0, dtype=torch.int64), 4))
    assert noisy.clean_boxes.eq(0.25).all()
    assert noisy.labels.eq(NOBODY).all()
    assert not noisy.is_person.any()
    assert noisy.sees.all()


@pytest.mark.parametrize(
    ("people", "drawn"), [(0, 0), (1, 0), (3, 1), (7, 2), (33, 1), (100, 0), (101, 100)]
)
def test_draws_fill_up_a_hundred_queries(people: int, drawn: int) -> None:
    draws = draw([people], [5], 100)
    assert len(draws.people[0]) == drawn
    boxes = torch.rand(people, 4)
    noisy = noisy_people([boxes], draws)
    assert noisy.clean_boxes.shape == noisy.boxes.shape == (1, 100, 4)
    assert noisy.sees.shape == (1, 100, 100)
    if people:
        assert (noisy.clean_boxes[0, :, None] == boxes).all(-1).any(1).all()


def test_draws_are_those_of_the_images_seed() -> None:
    one, two = draw([3, 2], [5, 6], 20), draw([2], [6], 20)
    assert one.labels[1].equal(two.labels[0])
    assert one.box_uniform[1].equal(two.box_uniform[0])
    assert one.people[1].equal(two.people[0])
    assert not one.box_uniform[0].equal(one.box_uniform[1])
    assert 0 <= int(one.labels.min()) <= int(one.labels.max()) < LABELS
