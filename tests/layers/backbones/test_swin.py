"""Swin's windows: padded before they are shifted, and never made smaller."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.swin_transformer import SwinTransformerBlock

from posebench.layers.backbones.swin import PaddedBlock, SwinBackbone


def blocks(side: int) -> tuple[SwinTransformerBlock, PaddedBlock]:
    """Return timm's block and ours with the same weights, of windows of 4 shifted by 2."""
    options: dict[str, Any] = {
        "num_heads": 2,
        "window_size": 4,
        "shift_size": 2,
        "dynamic_mask": True,
    }
    theirs = SwinTransformerBlock(8, (side, side), always_partition=True, **options)
    ours = PaddedBlock(8, (side, side), always_partition=True, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs.eval(), ours.eval()


def test_whole_windows_are_timms() -> None:
    theirs, ours = blocks(8)
    x = torch.randn(2, 8, 12, 8)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("size", [(6, 9), (3, 3)])
def test_a_map_is_padded_and_then_shifted(size: tuple[int, int]) -> None:
    _, ours = blocks(8)
    x = torch.randn(1, *size, 8)
    height, width = (-side % 4 + side for side in size)
    # By hand: normalised and padded to whole windows, through the attention of a whole map.
    normalised = ours.norm1(x)
    padded = torch.zeros(1, height, width, 8)
    padded[:, : size[0], : size[1]] = normalised
    expected = x + ours._attn(padded)[:, : size[0], : size[1]]
    expected = expected + ours.mlp(ours.norm2(expected))
    torch.testing.assert_close(ours(x), expected)


def test_a_mask_made_in_evaluation_serves_training() -> None:
    _, ours = blocks(8)
    x = torch.randn(1, 7, 5, 8)
    with torch.inference_mode():
        expected = ours(x).clone()
    found = ours.train()(x)
    found.sum().backward()
    torch.testing.assert_close(found.detach(), expected)


def test_the_trunk_takes_any_size() -> None:
    trunk = SwinBackbone("swin_t").eval()
    with torch.inference_mode():
        maps = trunk(torch.randn(1, 3, 70, 101))
    assert [tuple(m.shape) for m in maps] == [
        (1, 192, 9, 13), (1, 384, 5, 7), (1, 768, 3, 4),
    ]  # fmt: skip
