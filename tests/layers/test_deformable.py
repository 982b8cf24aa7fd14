"""Deformable attention around boxes, and proposals' sides, by hand."""

from __future__ import annotations

import pytest
import torch

from posebench.layers.deformable import DeformableAttention, Tokens, around_boxes
from posebench.layers.proposals import proposal_sides

SIZES = ((4, 8), (2, 4))


def test_offsets_of_a_box_count_in_its_sides() -> None:
    boxes = torch.tensor([0.5, 0.25, 0.2, 0.4]).expand(1, 1, 2, 4)
    offsets = torch.ones(1, 1, 3, 2, 4, 2)  # 3 heads, 2 levels, 4 points
    centres, cells = around_boxes(boxes, offsets, SIZES)
    assert centres.equal(boxes[..., :2])
    # An eighth of the box, in cells of a level of 8 x 4, then of 4 x 2.
    assert cells[0, 0, 0, 0, 0].tolist() == pytest.approx([0.2 * 8 / 8, 0.4 * 4 / 8])
    assert cells[0, 0, 2, 1, 3].tolist() == pytest.approx([0.2 * 4 / 8, 0.4 * 2 / 8])


def test_a_box_without_sides_is_a_point_without_offsets() -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(16, levels=2, heads=4, points=2)
    query, values = torch.randn(1, 3, 16), torch.randn(1, 40, 16)
    points = torch.rand(1, 3, 2, 2)
    boxes = torch.cat([points, torch.zeros(1, 3, 2, 2)], -1)
    found = attention(query, boxes, values, SIZES, None)
    attention.sampling_offsets.weight.data.zero_()
    attention.sampling_offsets.bias.data.zero_()
    torch.testing.assert_close(found, attention(query, points, values, SIZES, None))


def test_boxes_lie_on_the_padded_maps_with_their_sides() -> None:
    values = torch.zeros(1, 40, 4)
    extents = torch.tensor([[[4.0, 4.0], [2.0, 2.0]]])  # half of each width is padding
    tokens = Tokens(values, values, None, extents, SIZES)
    found = tokens.on_every_level(torch.tensor([[0.5, 0.5, 0.4, 0.2]]))
    assert found[0, 0].tolist() == pytest.approx([0.25, 0.5, 0.2, 0.2])
    sides = proposal_sides(tokens).sigmoid()
    assert sides.shape == (40, 2)
    assert sides[[0, 31, 32, 39], 0].tolist() == pytest.approx([0.05, 0.05, 0.1, 0.1])
