"""Pieces of transformers against PyTorch's own and hand-worked values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from posebench.layers.precision import to_float32
from posebench.layers.transformer import (
    MLP,
    SMALL_GROUP,
    SelfAttention,
    box_encoding,
    class_head,
    inverse_sigmoid,
    map_angles,
    point_encoding,
    waves,
    zero_init_head,
)


@pytest.mark.parametrize("axis", [1, 2])
def test_self_attention_is_torchs_own_along_an_axis(axis: int) -> None:
    ours, theirs = SelfAttention(16, heads=4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 5, 16)
    groups = x.movedim(axis, 2).flatten(0, 1)
    expected, _ = theirs(groups, groups, groups)
    expected = expected.view_as(x.movedim(axis, 2)).movedim(2, axis)
    torch.testing.assert_close(ours(x, axis=axis), expected)


@pytest.mark.parametrize("tokens", [5, SMALL_GROUP + 1])
def test_attention_is_the_same_with_and_without_a_way_back(tokens: int) -> None:
    attention = SelfAttention(16, heads=4)
    x, mask = torch.randn(3, tokens, 16), torch.rand(tokens, tokens) < 0.7
    mask.fill_diagonal_(True)
    for seen in (None, mask):
        learning = attention(x, mask=seen)
        with torch.no_grad():
            torch.testing.assert_close(learning, attention(x, mask=seen))


def test_a_mask_hides_tokens() -> None:
    attention = SelfAttention(8, heads=2)
    x = torch.randn(1, 4, 8)
    alone = attention(x, mask=torch.eye(4, dtype=torch.bool))
    for token in range(4):
        torch.testing.assert_close(alone[:, token : token + 1], attention(x[:, token : token + 1]))


def test_heads_start_unsure_and_still() -> None:
    x = torch.randn(5, 8)
    assert class_head(8).bias.sigmoid().allclose(torch.tensor(0.01))
    assert zero_init_head([8, 8, 2])(x).eq(0).all()
    assert not MLP([8, 8, 2])(x).eq(0).any()


def test_the_inverse_sigmoid_is_bounded() -> None:
    x = torch.tensor([0.2, 0.5, 0.9])
    torch.testing.assert_close(inverse_sigmoid(x).sigmoid(), x)
    bound = math.log(1000)
    found = inverse_sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    torch.testing.assert_close(found, torch.tensor([-bound, -bound, bound, bound]))


def test_points_are_encoded_by_waves_of_y_then_x() -> None:
    found = point_encoding(torch.tensor([0.25, 0.5]), 8, temperature=100.0)
    y, x = math.pi, math.pi / 2
    expected = [f(a / t) for a in (y, x) for t in (1, 10) for f in (math.sin, math.cos)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_padding_does_not_move_what_is_beside_it() -> None:
    padding = torch.zeros(1, 3, 5, dtype=torch.bool)
    padding[:, :, 4:] = True
    alone = waves(map_angles(padding[:, :, :4]), 16, 20.0)
    torch.testing.assert_close(waves(map_angles(padding), 16, 20.0)[:, :, :4], alone)


def test_coordinates_are_at_least_float32() -> None:
    assert to_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert to_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_positions_are_added_to_queries_and_keys_alone() -> None:
    ours, theirs = SelfAttention(16, heads=4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x, positions, mask = torch.randn(3, 5, 16), torch.randn(3, 5, 16), torch.rand(3, 5, 5) < 0.6
    mask.diagonal(dim1=1, dim2=2).fill_(True)
    placed = x + positions
    hidden = ~mask.repeat_interleave(4, 0)  # theirs has a mask of each head
    expected, _ = theirs(placed, placed, x, attn_mask=hidden)
    torch.testing.assert_close(ours(x, mask=mask, positions=positions), expected)


def test_a_box_is_encoded_as_its_centre_and_its_sides() -> None:
    box = torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = box_encoding(box, 8).view(4, 4)
    for number, own in zip((0.2, 0.1, 0.3, 0.4), found, strict=True):  # y, x, width, height
        expected = point_encoding(torch.tensor([0.0, number]), 8)[:4]
        torch.testing.assert_close(own, expected)
