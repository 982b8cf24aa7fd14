"""HigherHRNet's losses against hand-worked values; the published ones are in tests/parity."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebench.models.higher_hrnet.losses import heatmap_loss, tag_losses
from posebench.models.higher_hrnet.model import HigherHRNet
from posebench.models.higher_hrnet.recipes import HigherHRNetConfig
from posebench.skeleton import COCO
from tests.builders import make_batch

TINY = HigherHRNetConfig(backbone="hrnet_tiny", blocks=1)


def bias_gradient(model: HigherHRNet, head: int) -> Tensor:
    gradient = model.get_parameter(f"heatmap_heads.{head}.bias").grad
    assert gradient is not None
    return gradient


def test_one_resolution_may_be_supervised_alone() -> None:
    batch = make_batch((2, 1), size=64)
    model = HigherHRNet(TINY, COCO)
    model.loss(batch)["heatmap"].backward()
    assert bias_gradient(model, 0)[:17].abs().sum() > 0
    alone = HigherHRNet(replace(TINY, supervise_all=False), COCO)
    alone.loss(batch)["heatmap"].backward()
    # The maps of stride 4 have a gradient through the concatenation only.
    assert bias_gradient(alone, 1).abs().sum() > 0
    assert alone.heatmap_heads[0].bias.grad is not None


def test_losses_of_hand_worked_tags() -> None:
    tags = torch.zeros(1, 2, 1, 4)
    tags[0, :, 0] = torch.tensor([[1.0, 3.0, 0.0, 9.0], [2.0, 3.0, 0.0, 9.0]])
    # One person at cells 0 of both maps (tags 1, 2), one at cells 1 (3, 3).
    cells = torch.tensor([[0, 0], [1, 1], [-1, -1]])
    people = torch.zeros(3, dtype=torch.int64)
    push, pull = tag_losses(tags, people, cells)
    assert pull.item() == pytest.approx((0.25 + 0) / 2)
    # Means 1.5 and 3, two ordered pairs over two, times one half.
    assert push.item() == pytest.approx(0.5 * math.exp(-(1.5**2)))
    assert tag_losses(tags, people[:1], cells[:1])[0].item() == 0
    without_people = tag_losses(tags, people[:0], cells[:0])
    assert [term.item() for term in without_people] == [0, 0]


def test_masked_cells_are_in_the_mean() -> None:
    maps, targets = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    mask = torch.tensor([[[[True, False], [False, False]]]])
    assert heatmap_loss(maps, targets, mask).tolist() == [0.25]
