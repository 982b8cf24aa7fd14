"""That a folded network is the same function."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from posebench.layers.backbones.hrnet import hrnet
from posebench.layers.backbones.resnet import ResNetBackbone
from posebench.layers.folding import folded

NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def used(model: nn.Module) -> nn.Module:
    """Give every batch norm something to do."""
    for module in model.modules():
        if isinstance(module, NORMS):
            state = module.state_dict()
            nn.init.uniform_(state["weight"], 0.5, 1.5)
            nn.init.normal_(state["bias"], std=0.2)
            nn.init.normal_(state["running_mean"], std=0.2)
            nn.init.uniform_(state["running_var"], 0.5, 2.0)
    return model.eval()


TRUNKS: dict[str, Callable[[], nn.Module]] = {
    "hrnet_tiny": lambda: hrnet("hrnet_tiny"),
    "hrnet_w32": lambda: hrnet("hrnet_w32"),
    "frozen resnet18": lambda: ResNetBackbone("resnet18", frozen=True),
    "resnet18": lambda: ResNetBackbone("resnet18", frozen=False),
}


@pytest.mark.parametrize("name", TRUNKS)
def test_a_folded_trunk_gives_the_same_maps_without_batch_norms(name: str) -> None:
    trunk = used(TRUNKS[name]())
    fast = folded(trunk)
    assert any(isinstance(module, NORMS) for module in trunk.modules())
    assert not any(isinstance(module, NORMS) for module in fast.modules())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for found, expected in zip(fast(images), trunk(images), strict=True):
            error = (found - expected).abs().max() / expected.abs().max()
            assert error < 1e-5


def test_a_batch_norm_that_follows_something_else_stays() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    fast = folded(used(model))
    assert isinstance(fast, nn.Sequential)
    assert isinstance(fast[2], nn.BatchNorm2d)
    assert isinstance(model[0], nn.Conv2d)
