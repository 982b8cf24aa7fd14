from __future__ import annotations

import pytest
import torch

from posebench.layers.heatmaps import (
    clamp_scores,
    clamped_sigmoid,
    gaussian_heatmaps,
    heatmap_focal_loss,
    heatmap_focal_loss_of_logits,
)


def test_gaussian_is_one_at_its_cell_and_zero_beyond_its_radius() -> None:
    points = torch.tensor([[[5.9, 3.2]]], dtype=torch.float64)
    radius, sigma = torch.tensor([2.0]), torch.tensor([5 / 6])
    maps = gaussian_heatmaps(
        points, torch.ones(1, 1, dtype=torch.bool), (8, 10), radius=radius, sigma=sigma
    )
    assert maps.shape == (1, 1, 8, 10)
    assert maps[0, 0, 3, 5] == 1
    expected = torch.exp(torch.tensor(-1 / (2 * (5 / 6) ** 2)))
    assert maps[0, 0, 3, 6].item() == pytest.approx(expected.item())
    assert maps[0, 0, 3, 8] == 0
    assert maps[0, 0, 6, 5] == 0


def test_points_outside_or_not_drawn_leave_their_map_empty() -> None:
    points = torch.tensor([[[-0.5, 2.0], [-1.5, 2.0], [3.0, 3.0], [8.0, 1.0]]])
    drawn = torch.tensor([[True, True, False, True]])
    one = torch.tensor([1.0])
    maps = gaussian_heatmaps(points, drawn, (8, 8), radius=one, sigma=one)
    assert maps[0, 0, 2, 0] == 1  # truncation toward zero
    assert maps[0, 1:].sum() == 0


def plain_focal_loss(
    scores: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Eq. 15 as printed."""
    at_peak = (1 - scores) ** 2 * scores.log()
    elsewhere = (1 - targets) ** 4 * scores**2 * (1 - scores).log()
    terms = torch.where(targets == 1, at_peak, elsewhere) * mask
    return -terms.sum() / ((targets == 1) & mask).sum().clamp(min=1)


def test_focal_loss_and_its_gradient_equal_the_equation() -> None:
    scores = torch.rand(2, 3, 6, 6, dtype=torch.float64).requires_grad_()
    targets = torch.rand(2, 3, 6, 6, dtype=torch.float64)
    targets[0, 0, 2, 2] = targets[1, 2, 5, 0] = targets[1, 1, 0, 0] = 1
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    mask[1, :, 0] = False
    ours = heatmap_focal_loss(scores, targets, mask)
    plain = plain_focal_loss(scores, targets, mask)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(
        torch.autograd.grad(ours, scores), torch.autograd.grad(plain, scores)
    )


def test_focal_loss_without_keypoints_is_not_divided() -> None:
    scores, targets = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, 1, 2, 2)
    mask = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    expected = -4 * 0.25 * torch.log(torch.tensor(0.5))
    torch.testing.assert_close(heatmap_focal_loss(scores, targets, mask), expected)


def test_focal_loss_of_nobody_is_zero_and_keeps_the_graph() -> None:
    scores = torch.zeros(0, 17, 4, 4).requires_grad_()
    loss = heatmap_focal_loss(
        scores, torch.zeros(0, 17, 4, 4), torch.zeros(0, 17, 1, 1, dtype=torch.bool)
    )
    loss.backward()
    assert loss == 0
    assert scores.grad is not None


def test_focal_loss_refuses_other_shapes() -> None:
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="differ"):
        heatmap_focal_loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4), mask)


def test_scores_of_bfloat16_logits_stay_off_one() -> None:
    logits = torch.tensor([50.0, -50.0], dtype=torch.bfloat16)
    scores = clamped_sigmoid(logits)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, clamp_scores(torch.tensor([1.0, 0.0])))
    assert torch.log1p(-scores).isfinite().all()


def test_focal_loss_of_logits_equals_that_of_scores() -> None:
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    targets = torch.rand(2, 3, 8, 8)
    targets[0, 1, 2, 3] = targets[1, 0, 4, 4] = 1
    mask = torch.rand(2, 1, 8, 8) > 0.2
    losses = [
        heatmap_focal_loss_of_logits(logits, targets, mask),
        heatmap_focal_loss(clamped_sigmoid(logits), targets, mask),
    ]
    torch.testing.assert_close(losses[0], losses[1])
    first, second = (torch.autograd.grad(loss, logits)[0] for loss in losses)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("sure", [100.0, -100.0])
def test_focal_loss_of_sure_logits_is_finite(sure: float) -> None:
    target = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
    mask = torch.tensor([[[[True, True], [True, False]]]])
    logits = torch.full((1, 1, 2, 2), sure, requires_grad=True)
    loss = heatmap_focal_loss_of_logits(logits, target, mask)
    # 100 for the peak missed, or for each other cell lighted: 1 and 0.5^4.
    assert loss.item() == pytest.approx(100 if sure < 0 else 100 * (1 + 1 / 16))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
