"""CID's losses against hand-worked values."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from posebench.models.cid.losses import contrastive_loss
from posebench.models.cid.model import CID
from posebench.models.cid.recipes import CIDConfig
from posebench.skeleton import COCO
from tests.builders import make_batch

TINY = CIDConfig(backbone="hrnet_tiny", embedding=8)


def test_contrastive_loss_of_equal_and_of_opposite_people() -> None:
    equal = torch.ones(2, 4)
    one_image = torch.zeros(2, dtype=torch.int64)
    assert contrastive_loss(equal, one_image).item() == pytest.approx(math.log(2), rel=1e-6)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert contrastive_loss(opposite, one_image).item() == pytest.approx(0, abs=1e-6)
    # People of different images are not compared.
    assert contrastive_loss(equal, torch.tensor([0, 1])).item() == 0
    assert contrastive_loss(torch.empty(0, 4), torch.empty(0, dtype=torch.int64)) == 0


def test_contrastive_weight_zero_leaves_the_other_terms() -> None:
    batch = make_batch((2, 1))
    with_it, without = (CID(replace(TINY, contrastive_weight=w), COCO) for w in (1.0, 0.0))
    without.load_state_dict(with_it.state_dict())
    a, b = with_it.loss(batch), without.loss(batch)
    assert b["contrastive"] == 0
    torch.testing.assert_close(a["instance"], b["instance"])
