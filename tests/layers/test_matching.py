"""Hungarian matching and focal terms by hand."""

from __future__ import annotations

import math

import pytest
import torch

from posebench.layers.matching import assignment, focal_cost, focal_loss


def test_pairs_have_the_least_total_cost() -> None:
    costs = torch.tensor([[[1.0, 2.0], [2.0, 9.0], [5.0, 5.0]]])
    [(chosen, person)] = assignment(costs)
    # 2 + 2, not the nearest pair of all (1) and what it leaves (5).
    assert chosen.tolist() == [0, 1]
    assert person.tolist() == [1, 0]


def test_nobody_is_matched_to_nobody_and_broken_costs_do_not_stop() -> None:
    [(chosen, person)] = assignment(torch.zeros(1, 3, 0))
    assert len(chosen) == len(person) == 0
    [(chosen, person)] = assignment(torch.tensor([[[float("nan")], [1.0], [float("inf")]]]))
    assert (chosen.tolist(), person.tolist()) == ([1], [0])


def test_focal_terms_of_hand_worked_logits() -> None:
    score = 0.8
    logit = torch.tensor([math.log(score / (1 - score))])
    person = 0.25 * (1 - score) ** 2 * -math.log(score)
    nobody = 0.75 * score**2 * -math.log(1 - score)
    assert focal_loss(logit, torch.ones(1)).item() == pytest.approx(person)
    assert focal_loss(logit, torch.zeros(1)).item() == pytest.approx(nobody)
    assert focal_cost(logit).item() == pytest.approx(person - nobody, rel=1e-4)
