"""ED-Pose's matching costs by hand."""

from __future__ import annotations

import math

import pytest
import torch

from posebench.layers.pose_sets import PoseSets
from posebench.models.ed_pose.matching import detection_costs, pose_costs

LEFT, RIGHT = torch.tensor([0.2, 0.5, 0.2, 0.2]), torch.tensor([0.4, 0.5, 0.2, 0.2])


def test_cost_of_a_box_by_hand() -> None:
    people = PoseSets(
        [torch.zeros(1, 2, 2)], [torch.ones(1, 2) > 0], [torch.ones(1)], [RIGHT[None]]
    ).together
    costs = detection_costs(torch.zeros(1, 1, 1, 2), LEFT.view(1, 1, 1, 4), people)
    [[[cost]]] = costs.tolist()
    focal = (0.25 - 0.75) * math.log(2) / 4
    assert cost == pytest.approx(2 * focal + 5 * 0.2 - 2 * 0.0, abs=1e-4)


def test_boxes_do_not_count_in_costs_of_poses() -> None:
    truth = torch.tensor([[[0.2, 0.2], [0.4, 0.6]]])
    visible = torch.tensor([[True, False]])
    targets = PoseSets([truth], [visible], [torch.tensor([0.09])], [LEFT[None]])
    predicted = truth + torch.tensor([[0.03, 0.0], [0.5, 0.5]])
    costs = pose_costs(
        torch.zeros(1, 1, 1, 2), predicted[None, None], targets.together, torch.tensor([0.1, 0.1])
    )
    focal = (0.25 - 0.75) * math.log(2) / 4
    oks = math.exp(-(0.03**2) / (2 * 0.09 * 0.2**2))
    assert costs.item() == pytest.approx(2 * focal + 10 * 0.03 + 4 * (1 - oks), rel=1e-4)
