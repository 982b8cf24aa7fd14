"""Matching costs and losses of sets of poses by hand."""

from __future__ import annotations

import math

import pytest
import torch

from posebench.layers.matching import PERSON
from posebench.layers.pose_sets import PoseSets
from posebench.models.group_pose.losses import pose_costs, set_losses
from posebench.models.group_pose.recipes import Weights

SIGMAS = torch.tensor([0.1, 0.1])


def one_person(visible: tuple[bool, bool] = (True, True)) -> PoseSets:
    return PoseSets(
        keypoints=[torch.tensor([[[0.2, 0.2], [0.4, 0.6]]])],
        visible=[torch.tensor([visible])],
        area=[torch.tensor([0.09])],
        boxes=[torch.tensor([[0.3, 0.4, 0.2, 0.4]])],
    )


def test_losses_of_one_person_by_hand() -> None:
    truth = one_person((True, False))
    # The second of two predictions is 0.03 off in x of the only keypoint that is labelled.
    keypoints = torch.tensor([[0.9, 0.9], [0.9, 0.9], [0.23, 0.2], [0.9, 0.9]]).view(1, 1, 2, 2, 2)
    logits = torch.zeros(1, 1, 2, 2)
    found = set_losses(logits, keypoints, truth, SIGMAS)
    assert found.keypoints.item() == pytest.approx(0.03)
    oks = math.exp(-(0.03**2) / (2 * 0.09 * 0.2**2))
    assert found.oks.item() == pytest.approx(1 - oks, rel=1e-4)
    entropy = math.log(2) / 4
    assert found.classes.item() == pytest.approx((0.25 + 3 * 0.75) * entropy)
    [[costs]] = pose_costs(logits, keypoints, truth.together, SIGMAS)
    expected = 2 * (0.25 - 0.75) * entropy + 10 * 0.03 + 4 * (1 - oks)
    assert costs[1].item() == pytest.approx(expected, rel=1e-4)
    assert costs[0] > costs[1]


def test_weights_decide_who_is_matched() -> None:
    truth = one_person()
    # The first is where the person is, and unsure; the second is sure, and 0.1 off everywhere.
    keypoints = torch.stack([truth.keypoints[0], truth.keypoints[0] + 0.1], 1)[None]
    logits = torch.tensor([[[[0.0, -1.0], [0.0, 3.0]]]])
    near = set_losses(logits, keypoints, truth, SIGMAS)
    sure = set_losses(logits, keypoints, truth, SIGMAS, Weights(keypoints=0.1, oks=0.1))
    assert near.keypoints.item() == pytest.approx(0.0, abs=1e-6)
    assert sure.keypoints.item() == pytest.approx(0.4)


def test_every_round_has_its_own_losses() -> None:
    truth = one_person()
    exact = truth.keypoints[0].expand(2, 1, 1, 2, 2).clone()
    exact[0] += 0.1
    logits = torch.zeros(2, 1, 1, 2)
    logits[1, ..., PERSON] = 9.0
    logits[1, ..., 0] = -9.0
    found = set_losses(logits, exact, truth, SIGMAS)
    assert found.keypoints.tolist() == pytest.approx([0.4, 0.0], abs=1e-6)
    assert found.oks[1].item() == pytest.approx(0.0, abs=1e-6)
    assert found.classes[1] < 1e-6 < found.classes[0]


def test_nobody_has_a_class_loss_and_gradients_alone() -> None:
    nobody = PoseSets(
        [torch.zeros(0, 2, 2)], [torch.zeros(0, 2, dtype=torch.bool)], [torch.zeros(0)],
        [torch.zeros(0, 4)],
    )  # fmt: skip
    logits = torch.zeros(1, 1, 3, 2, requires_grad=True)
    keypoints = torch.rand(1, 1, 3, 2, 2, requires_grad=True)
    found = set_losses(logits, keypoints, nobody, SIGMAS)
    assert found.keypoints.item() == found.oks.item() == 0
    assert found.classes.item() == pytest.approx(6 * 0.75 * math.log(2) / 4)
    (found.classes + found.keypoints + found.oks).sum().backward()
    assert logits.grad is not None
    assert keypoints.grad is not None
    assert keypoints.grad.eq(0).all()
