"""Pyramids' levels; their numbers are compared with the published ones in tests/parity."""

from __future__ import annotations

import pytest
import torch

from posebench.models.posedet.pyramids import FPN, HRFPN, Conv

CHANNELS = (8, 16, 24, 32)


def backbone_maps(height: int, width: int) -> list[torch.Tensor]:
    return [
        torch.randn(2, c, height // s, width // s)
        for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("kind", [FPN, HRFPN])
@pytest.mark.parametrize("size", [(64, 128), (96, 160)])
def test_levels_have_their_strides(kind: type[FPN | HRFPN], size: tuple[int, int]) -> None:
    height, width = size
    levels = kind(CHANNELS, 32)(backbone_maps(height, width))
    assert [tuple(level.shape) for level in levels] == [
        (2, 32, -(-height // s), -(-width // s)) for s in kind.strides
    ]


@pytest.mark.parametrize("kind", [FPN, HRFPN])
def test_every_parameter_has_a_gradient(kind: type[FPN | HRFPN]) -> None:
    pyramid = kind(CHANNELS, 32)
    sum(level.square().sum() for level in pyramid(backbone_maps(64, 64))).backward()
    assert all(p.grad is not None and p.grad.any() for p in pyramid.parameters())


def test_a_convolution_has_a_norm_or_a_bias() -> None:
    assert {name for name, _ in Conv(3, 32, 3).named_parameters()} == {
        "conv.weight",
        "gn.weight",
        "gn.bias",
    }
    plain = Conv(3, 4, 3, norm=False, relu=True)
    assert {name for name, _ in plain.named_parameters()} == {"conv.weight", "conv.bias"}
    assert (plain(torch.randn(1, 3, 8, 8)) >= 0).all()
