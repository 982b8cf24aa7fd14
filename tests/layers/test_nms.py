"""Suppression against a plain loop over layers.oks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from posebench.layers.nms import box_nms, oks_nms, pose_area
from posebench.layers.oks import oks
from posebench.skeleton import COCO

SIGMAS = torch.tensor(COCO.sigmas)


def crowd(candidates: int, people: int, spread: float = 6.0) -> tuple[Tensor, Tensor]:
    """Return poses around those of a few people, and scores of which some are equal."""
    bodies = 500 * torch.rand(people, 1, 2) + 80 * torch.rand(people, len(SIGMAS), 2)
    poses = bodies[torch.randint(people, (candidates,))]
    poses = poses + spread * torch.randn(candidates, len(SIGMAS), 2)
    return poses, (torch.rand(candidates) * 50).round() / 50


def one_by_one(similarity: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for one in scores.argsort(descending=True, stable=True).tolist():
        if all(similarity[one, other] <= threshold for other in kept):
            kept.append(one)
    return kept


@pytest.mark.parametrize("people", [1, 7, 90])
@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.8, 1.0])
def test_oks_suppression_keeps_what_a_plain_loop_keeps(people: int, threshold: float) -> None:
    poses, scores = crowd(120, people)
    area = pose_area(poses)
    similarity = oks(poses, poses, torch.ones(120, 17), (area[:, None] + area) / 2, SIGMAS)
    expected = one_by_one(similarity, scores, threshold)
    kept = oks_nms(poses, scores, SIGMAS, threshold)
    assert kept.tolist() == expected
    some = oks_nms(poses, scores, SIGMAS, threshold, area=area, limit=5)
    assert some.tolist() == expected[:5]


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_box_suppression_keeps_what_a_plain_loop_keeps(threshold: float) -> None:
    poses, _ = crowd(80, 7)
    scores = torch.randperm(80) / 80
    boxes = torch.cat([poses.amin(1), poses.amax(1)], 1)
    expected = one_by_one(box_iou(boxes, boxes), scores, threshold)
    assert box_nms(poses, scores, threshold).tolist() == expected
    assert box_nms(poses, scores, threshold, limit=2).tolist() == expected[:2]


def test_nobody_is_kept_of_nobody() -> None:
    nobody, scores = torch.zeros(0, 17, 2), torch.zeros(0)
    assert pose_area(nobody).shape == (0,)
    assert oks_nms(nobody, scores, SIGMAS, 0.5).shape == (0,)
    assert box_nms(nobody, scores, 0.5).shape == (0,)


def test_an_area_of_zero_suppresses_the_same_pose_only() -> None:
    poses = torch.zeros(3, 17, 2)
    poses[2] = 1.0
    kept = oks_nms(poses, torch.tensor([0.1, 0.3, 0.2]), SIGMAS, 0.5, area=torch.zeros(3))
    assert kept.tolist() == [1, 2]
