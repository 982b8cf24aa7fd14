"""Generalised IoU by hand and by torchvision."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_convert, generalized_box_iou

from posebench.layers.boxes import generalized_iou

LEFT, RIGHT = torch.tensor([0.2, 0.5, 0.2, 0.2]), torch.tensor([0.4, 0.5, 0.2, 0.2])


def test_generalised_iou_of_neighbours() -> None:
    # Equal boxes; boxes that touch; boxes with a gap as wide as they are, a third of their hull.
    assert generalized_iou(LEFT, LEFT).item() == pytest.approx(1.0, abs=1e-4)
    assert generalized_iou(LEFT, RIGHT).item() == pytest.approx(0.0, abs=1e-4)
    far = torch.tensor([0.6, 0.5, 0.2, 0.2])
    assert generalized_iou(LEFT, far).item() == pytest.approx(-1 / 3, abs=1e-4)
    half = torch.tensor([0.3, 0.5, 0.2, 0.2])
    assert generalized_iou(LEFT, half).item() == pytest.approx(1 / 3, abs=1e-4)


def test_generalised_iou_is_torchvisions_but_for_the_small_number() -> None:
    torch.manual_seed(0)
    boxes, others = torch.rand(5, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64)
    corners = (box_convert(each, "cxcywh", "xyxy") for each in (boxes, others))
    expected = generalized_box_iou(*corners)
    torch.testing.assert_close(generalized_iou(boxes[:, None], others), expected, rtol=0, atol=1e-3)
