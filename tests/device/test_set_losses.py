"""Losses of sets of predictions on a GPU: no more launches for more images, people and layers."""

from __future__ import annotations

import torch

from posebench.layers.pose_sets import PoseSets
from posebench.models.ed_pose.losses import loss_terms
from posebench.models.ed_pose.outputs import Detections, EDPoseOutputs
from posebench.models.ed_pose.recipes import PUBLISHED
from posebench.models.group_pose.losses import set_losses
from posebench.transfer import moved
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE

SIGMAS = torch.tensor([0.1, 0.1])
SIZES = [(2, (1, 2)), (5, (3, 0, 1, 4))]  # layers, people of each image


def targets(counts: tuple[int, ...]) -> PoseSets:
    """Return images with so many people, on the device."""
    people = PoseSets(
        keypoints=[torch.rand(count, 2, 2) for count in counts],
        visible=[torch.ones(count, 2, dtype=torch.bool) for count in counts],
        area=[torch.full((count,), 0.1) for count in counts],
        boxes=[torch.full((count, 4), 0.3) for count in counts],
    )
    return moved(people, DEVICE)


def test_group_pose(gpu: Ledger) -> None:
    launches = []
    for layers, counts in SIZES:
        people, shape = targets(counts), (layers, len(counts), 6)
        logits, keypoints, sigmas = moved(
            (torch.zeros(*shape, 2), torch.rand(*shape, 2, 2), SIGMAS), DEVICE
        )
        gpu.clear()
        set_losses(logits, keypoints, people, sigmas)
        launches.append(gpu.launches.total())
        assert gpu.waits.total() == 1
    assert launches[0] == launches[1]


def test_ed_pose(gpu: Ledger) -> None:
    launches = []
    for layers, counts in SIZES:
        people, shape = targets(counts), (layers, len(counts), 6)
        logits, boxes = torch.zeros(*shape, 2), torch.full((*shape, 4), 0.4)
        outputs = EDPoseOutputs(
            logits, boxes, torch.rand(*shape, 2, 2), detected=Detections(logits, boxes)
        )
        outputs, sigmas = moved((outputs, SIGMAS), DEVICE)
        gpu.clear()
        loss_terms(outputs, people, None, sigmas, PUBLISHED)
        launches.append(gpu.launches.total())
        assert gpu.waits.total() == 1
    assert launches[0] == launches[1]
