"""Both ways of a convolution at points against each other and against single samples."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from posebench.layers.precision import float32_conv
from posebench.models.posedet import point_conv as module
from posebench.models.posedet.point_conv import (
    compiled_point_conv,
    deformable_point_conv,
    point_conv,
    point_conv_at,
    sampled_point_conv,
)

PointConv = Callable[[Tensor, Tensor, Tensor], Tensor]

WAYS: tuple[PointConv, ...] = (deformable_point_conv, sampled_point_conv)


def case(height: int, width: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Return features, offsets that reach beyond the map, and a weight, all with gradients."""
    values = (
        torch.randn(2, 3, height, width, dtype=dtype),
        3 * torch.randn(2, 10, height, width, dtype=dtype),
        torch.randn(4, 3, 1, 5, dtype=dtype),
    )
    return tuple(value.requires_grad_() for value in values)


@pytest.mark.parametrize("size", [(6, 9), (2, 3), (1, 1)])
def test_both_ways_have_the_same_values_and_gradients(size: tuple[int, int]) -> None:
    inputs = case(*size)
    outputs = [way(*inputs) for way in WAYS]
    torch.testing.assert_close(outputs[0], outputs[1])
    assert outputs[0].shape == (2, 4, *size)
    direction = torch.randn_like(outputs[0])
    gradients = [torch.autograd.grad(o, inputs, direction) for o in outputs]
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("way", [*WAYS, compiled_point_conv])
def test_points_are_read_whole_between_cells_and_beyond_the_map(way: PointConv) -> None:
    features = torch.arange(12.0).view(1, 1, 3, 4)
    offsets = torch.zeros(1, 3, 2, 3, 4)
    offsets[:, 0] = torch.tensor([1.0, -1.0])[:, None, None]  # y + 1, x - 1
    offsets[:, 2, 1] = 0.5
    weight = torch.tensor([1.0, 100.0, 10000.0]).view(1, 1, 1, 3)
    found = way(features, offsets.flatten(1, 2), weight)
    # Of cell (1, 2): (2, 1) is 9, itself 6, half way to (1, 3) 6.5.
    assert found[0, 0, 1, 2].item() == pytest.approx(9 + 600 + 65000)
    # Of cell (2, 3): nothing below the map, itself 11, half of it half a cell beyond.
    assert found[0, 0, 2, 3].item() == pytest.approx(0 + 1100 + 55000)


@pytest.mark.parametrize("way", [*WAYS, compiled_point_conv])
def test_points_are_not_rounded_under_autocast(way: PointConv) -> None:
    columns = torch.arange(300.0).expand(1, 1, 2, 300)
    offsets = torch.zeros(1, 2, 2, 300)
    offsets[:, 1] = 100.4  # bfloat16 has 100.5
    with torch.autocast("cpu", torch.bfloat16):
        found = way(columns, offsets, torch.ones(1, 1, 1, 1))
    assert found[0, 0, 1, 10].item() == pytest.approx(110.4, abs=0.5)  # the value itself is rounded
    exact = way(columns, offsets, torch.ones(1, 1, 1, 1))
    assert exact[0, 0, 1, 10].item() == pytest.approx(110.4, abs=1e-3)


@pytest.mark.parametrize("chosen", [[(0, 1, 2, 3), (1, 0, 0, 1), (0, 0, 3, 8), (1, 1, 2, 0)], []])
def test_chosen_cells_of_levels_have_the_values_and_gradients_of_all(
    chosen: list[tuple[int, int, int, int]],
) -> None:
    fine, fine_offsets, weight = case(4, 9)
    coarse, coarse_offsets, _ = case(3, 2)
    inputs = (fine, fine_offsets, coarse, coarse_offsets, weight)
    pairs = ((fine, fine_offsets), (coarse, coarse_offsets))
    level, image = torch.tensor(chosen, dtype=torch.long).view(-1, 4)[:, :2].unbind(1)
    everywhere = [deformable_point_conv(*pair, weight) for pair in pairs]
    expected, points = [torch.zeros(0, 4).double()], [torch.zeros(0, 5, 2).double()]
    for number, b, y, x in chosen:
        expected.append(everywhere[number][b, :, y, x][None])
        away = pairs[number][1][b, :, y, x].view(-1, 2)
        points.append((away.flip(1) + torch.tensor([x, y]))[None])
    found = point_conv_at([fine, coarse], level, image, torch.cat(points), weight)
    wanted = torch.cat(expected)
    assert found.shape == (len(chosen), 4)
    torch.testing.assert_close(found, wanted)
    direction = torch.randn_like(found)
    if not chosen:
        gradients = torch.autograd.grad(found, (fine, coarse, weight), direction)
        assert not any(gradient.any() for gradient in gradients)
        return
    for first, second in zip(
        torch.autograd.grad(found, inputs, direction, retain_graph=True),
        torch.autograd.grad(wanted, inputs, direction),
        strict=True,
    ):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("lost", [torch.nan, torch.inf])
def test_points_that_are_lost_reach_the_loss(lost: float) -> None:
    features, offsets, weight = case(3, 4)
    with torch.no_grad():
        offsets[0, 0, 1, 1] = lost
    assert sampled_point_conv(features, offsets, weight).isfinite().sum() == 2 * 4 * 12 - 4


def test_in_inference_all_and_chosen_cells_are_convolved_in_compiled_loops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels = [case(*size, torch.float32) for size in ((6, 9), (2, 3), (1, 1))]
    weight = case(1, 1, torch.float32)[2]
    everywhere = [sampled_point_conv(maps, offsets, weight).detach() for maps, offsets, _ in levels]
    cells = [
        (number, *(int(n) for n in cell))
        for number, (maps, _, _) in enumerate(levels)
        for cell in torch.ones(2, *maps.shape[2:]).nonzero()
    ]
    cells = [cells[n] for n in torch.randperm(len(cells))]  # of all levels and images, in no order
    points, expected = [], []
    for number, b, y, x in cells:
        away = levels[number][1][b, :, y, x].detach().view(-1, 2)
        points.append(away.flip(1) + torch.tensor([x, y]))
        expected.append(everywhere[number][b, :, y, x])
    level, image = torch.tensor(cells)[:, :2].unbind(1)
    monkeypatch.setattr(module, "_sampled_at", None)  # PyTorch's operations
    with torch.inference_mode():
        for (maps, offsets, _), wanted in zip(levels, everywhere, strict=True):
            torch.testing.assert_close(point_conv(maps, offsets, weight), wanted)
        found = point_conv_at(
            [maps for maps, _, _ in levels], level, image, torch.stack(points), weight
        )
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_precise_convolution_is_not_rounded() -> None:
    layer = torch.nn.Conv2d(8, 2, 1)
    features = torch.randn(1, 8, 3, 3)
    expected = layer(features)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(features).dtype == torch.bfloat16
        found = float32_conv(layer, features)
    torch.testing.assert_close(found, expected)
    with torch.device("meta"):
        assert float32_conv(torch.nn.Conv2d(8, 2, 1), torch.zeros(1, 8, 3, 3)).shape[1] == 2
