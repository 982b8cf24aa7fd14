"""Mask R-CNN's keypoints against those of torchvision's loop over people."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

from posebench.models.mask_rcnn import decoding
from posebench.models.mask_rcnn.decoding import maxima, whole_sides


def smooth_maps(people: int, keypoints: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = 3 * torch.randn(people, keypoints, 14, 14, generator=generator)
    return F.interpolate(coarse, size=(56, 56), mode="bilinear")


@pytest.mark.parametrize("most", [1, 2**18])  # one person at a time, or several
def test_keypoints_are_torchvisions(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MOST_ON_CPU", most)
    sides = [(20.0, 50.5), (3, 3), (56, 112), (0.2, 90), (130.3, 41), (57.01, 55.99), (20, 220)]
    low = torch.arange(7)[:, None] * torch.tensor([3.7, 1.1])
    boxes = torch.cat([low, low + torch.tensor(sides)], 1)
    logits = smooth_maps(7, 5)
    expected, _ = heatmaps_to_keypoints(logits, boxes)
    own_sides, pixels = whole_sides(boxes)
    places = (maxima(logits, boxes) + 0.5) * (own_sides / pixels)[:, None] + boxes[:, None, :2]
    torch.testing.assert_close(places, expected[..., :2], rtol=0, atol=1e-4)


def test_nobody_has_no_keypoints() -> None:
    assert maxima(torch.zeros(0, 5, 56, 56), torch.zeros(0, 4)).shape == (0, 5, 2)
