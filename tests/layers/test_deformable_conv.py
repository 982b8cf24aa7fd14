"""The compiled deformable convolution against torchvision's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from posebench.layers import deformable_conv as module
from posebench.layers.deformable_conv import (
    can_convolve,
    can_differentiate,
    cells_of,
    deformable_conv,
    differentiable_conv,
    taps_of,
)
from posebench.layers.portable import portable_operators
from posebench.layers.sampling import torch_operations_only

# Batch, groups, channels and outputs of a group, size of the map, size of the kernel.
CASES = [
    (1, 1, 8, 4, (6, 9), (1, 5)),
    (2, 1, 3, 7, (5, 4), (3, 3)),
    (1, 17, 15, 15, (7, 6), (3, 3)),
    (3, 2, 16, 1, (4, 11), (1, 17)),
    (2, 1, 1, 2, (1, 1), (3, 1)),
    (1, 3, 5, 2, (1, 13), (1, 1)),
]


def case(
    batch: int, groups: int, channels: int, outputs: int, size: tuple[int, int],
    kernel: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return features, offsets of which many lead beyond the map, and a weight."""
    torch.manual_seed(0)
    taps = kernel[0] * kernel[1]
    offsets = 3 * torch.randn(batch, groups * taps * 2, *size)
    return (
        torch.randn(batch, groups * channels, *size),
        (256 * offsets).round() / 256,  # so that points are not rounded, in any order of additions
        torch.randn(groups * outputs, channels, *kernel),
    )


def reference(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    convolved: Tensor = deform_conv2d(features, offsets, weight, padding=padding)
    return convolved


def points_of(offsets: Tensor, weight: Tensor, groups: int) -> Callable[[int, int], Tensor]:
    """Return where torchvision's offsets move the taps of a regular kernel."""
    height, width = offsets.shape[-2:]
    rows, columns = weight.shape[2:]
    moved = offsets.view(len(offsets), groups, rows, columns, 2, height, width)
    tap_y = torch.arange(rows).view(-1, 1, 1, 1) - rows // 2
    tap_x = torch.arange(columns).view(-1, 1, 1) - columns // 2
    y = moved[:, :, :, :, 0] + tap_y + torch.arange(height)[:, None]
    x = moved[:, :, :, :, 1] + tap_x + torch.arange(width)
    points = torch.stack([x, y], -1).flatten(4, 5).flatten(2, 3).transpose(2, 3)
    return lambda image, group: points[image, group]


def convolved(features: Tensor, offsets: Tensor, weight: Tensor, groups: int) -> Tensor:
    return deformable_conv(features, points_of(offsets, weight, groups), weight, groups)


@pytest.mark.parametrize("shapes", CASES)
@pytest.mark.parametrize("block", [1, 5, 256])
def test_it_equals_torchvision(
    shapes: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 0)
    monkeypatch.setattr(module, "BLOCK_CELLS", block)
    inputs = case(*shapes)  # type: ignore[arg-type]
    torch.testing.assert_close(convolved(*inputs, shapes[1]), reference(*inputs))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_share_the_points_of_a_large_map(threads: int) -> None:
    inputs = case(2, 1, 8, 8, (30, 41), (3, 3))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = convolved(*inputs, 1)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, reference(*inputs))


def test_any_layout_of_memory_is_read_and_channels_last_is_kept() -> None:
    features, offsets, weight = case(2, 1, 8, 16, (6, 9), (1, 5))
    expected = reference(features, offsets, weight)
    last = torch.channels_last
    for maps in (
        features.to(memory_format=last),
        features.repeat(1, 1, 2, 2)[:, :, 6:, 9:],
        features.transpose(2, 3).contiguous().transpose(2, 3),
        torch.stack([features, features], 2)[:, :, 1],
    ):
        for kernel in (weight, weight.to(memory_format=last), weight.flip(0).flip(0)[:, :]):
            found = convolved(maps, offsets, kernel, 1)
            torch.testing.assert_close(found, expected)
            assert found.is_contiguous(memory_format=last) == maps.is_contiguous(memory_format=last)
    moved = offsets.to(memory_format=last).contiguous(memory_format=last)
    points = points_of(offsets, weight, 1)
    transposed = deformable_conv(features, lambda *at: points(*at).mT.contiguous().mT, weight)
    torch.testing.assert_close(transposed, expected)
    torch.testing.assert_close(reference(features, moved, weight), expected)


def test_maps_of_one_group_in_channels_last_are_not_copied() -> None:
    features = torch.randn(2, 16, 3, 4).to(memory_format=torch.channels_last)
    assert cells_of(features).data_ptr() == features.data_ptr()
    assert cells_of(features[:, :15]).shape == (2, 1, 3, 4, 16)
    weight = torch.randn(4, 16, 1, 5).to(memory_format=torch.channels_last)
    assert taps_of(weight).data_ptr() == weight.data_ptr()


@pytest.mark.parametrize("shapes", CASES)
def test_points_on_and_far_beyond_the_border_are_torchvisions(shapes: tuple[int, ...]) -> None:
    features, offsets, weight = case(*shapes)  # type: ignore[arg-type]
    height, width = features.shape[-2:]
    odd = [
        torch.inf, -torch.inf, 1e30, -1e30, 3e9, 2.0**31, -(2.0**31), 1e-30, -1e-30,
        -1.0, 0.0, 1.0, -0.5, 0.5, float(height), float(width), -float(height), -float(width),
    ]  # fmt: skip
    chosen = torch.tensor(odd)[torch.randint(len(odd), offsets.shape)]
    offsets = torch.where(torch.rand(offsets.shape) < 0.6, chosen, offsets)
    found = convolved(features, offsets, weight, shapes[1])
    torch.testing.assert_close(found, reference(features, offsets, weight))


@pytest.mark.parametrize("step", [1, 2, 256])
@pytest.mark.parametrize("shapes", CASES)
def test_gradients_are_torchvisions(shapes: tuple[int, ...], step: int) -> None:
    """Points lie on cells, where the gradient is one-sided, halfway between them, or anywhere."""
    features, offsets, weight = case(*shapes)  # type: ignore[arg-type]
    offsets = (step * offsets).round() / step
    expected = [value.double().requires_grad_() for value in (features, offsets, weight)]
    reference(expected[0], expected[1], expected[2]).square().sum().backward()
    found = [value.requires_grad_() for value in (features, offsets, weight)]
    batch, groups = len(features), shapes[1]
    point = points_of(offsets, weight, groups)
    points = torch.stack([torch.stack([point(i, g) for g in range(groups)]) for i in range(batch)])
    differentiable_conv(features, points, weight, groups).square().sum().backward()
    for own, other in zip(found, expected, strict=True):
        assert own.grad is not None
        assert other.grad is not None
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(own.grad.double(), other.grad, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("other", [0.5, 100.0, torch.nan, torch.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_point_that_is_no_number_loses_its_cell_alone(axis: int, other: float) -> None:
    # torchvision reads beyond the map here, and may crash.
    features, offsets, weight = case(1, 2, 8, 4, (5, 6), (1, 3))
    offsets[0, axis, 2, 3], offsets[0, 1 - axis, 2, 3] = torch.nan, other  # first group and tap
    found = convolved(features, offsets, weight, 2)
    lost = torch.zeros(1, 8, 5, 6, dtype=torch.bool)
    lost[0, :4, 2, 3] = True
    assert torch.equal(found.isnan(), lost)


def test_bfloat16_rounds_values_but_not_points() -> None:
    columns = torch.arange(300.0).expand(1, 1, 2, 300)
    points = torch.tensor([110.4, 1.0]).expand(600, 1, 2)  # bfloat16 has 110.5
    with torch.autocast("cpu", torch.bfloat16):
        found = deformable_conv(columns, lambda *_: points, torch.ones(1, 1, 1, 1))
    assert found.dtype == torch.float32
    assert found.unique().tolist() == [torch.tensor(110.4).bfloat16().item()]
    halved = deformable_conv(columns.bfloat16(), lambda *_: points, torch.ones(1, 1, 1, 1))
    assert halved.dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated")
def test_gradients_and_graphs_need_another_form() -> None:
    features, weight = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 1, 1, requires_grad=True)
    assert can_convolve(features)
    assert not can_convolve(features, weight)
    assert can_differentiate(features, weight)
    assert not can_differentiate(features.double())
    with torch.no_grad():
        assert can_convolve(features, weight)
    assert not can_convolve(features.double())
    assert not can_convolve(features.to("meta"))
    with portable_operators():
        assert not can_convolve(features)
    with torch_operations_only():
        assert not can_convolve(features)
    seen: list[bool] = []

    def traced(maps: Tensor) -> Tensor:
        seen.append(can_convolve(maps))
        return maps + 1

    torch.jit.trace(traced, (features,), check_trace=False)
    assert seen and not any(seen)
