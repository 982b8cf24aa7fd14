"""Kept tensors have values, whatever was recorded or counted before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from posebench.layers.backbones.swin import _shift_mask
from posebench.layers.kept import kept
from posebench.layers.portable import constant
from posebench.models.posedet.targets import candidate_grid

CPU = torch.device("cpu")
CASES: dict[str, Callable[[int], Tensor]] = {
    "constant": lambda side: constant((side, side + 1), CPU),
    "shift mask": lambda side: _shift_mask((side, side), (2, 2), (1, 1), CPU, torch.float32),
    "grid": lambda side: candidate_grid([(side, side)], [8], torch.empty(0)).cells,
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_alone_are_not_kept(name: str) -> None:
    make = CASES[name]
    with FakeTensorMode():
        assert isinstance(make(34), FakeTensor)
    real = make(34)
    assert type(real) is Tensor and real.equal(make(34))
    with FakeTensorMode():  # nor is what was kept a part of it
        assert isinstance(make(34) + 1, FakeTensor)


@pytest.mark.parametrize("strict", [True, False], ids=["dynamo", "non-strict"])
@pytest.mark.parametrize("name", CASES)
def test_recorded_tensors_are_not_kept(name: str, strict: bool) -> None:
    make, side = CASES[name], 36 if strict else 38

    class Adding(torch.nn.Module):
        def forward(self, number: Tensor) -> Tensor:
            return make(side) + number

    number = torch.ones(())
    recorded: Any = torch.export.export(Adding(), (number,), strict=strict).module()
    assert type(make(side)) is Tensor
    assert recorded(number).equal(make(side) + 1)


def test_what_is_made_in_inference_mode_is_trained_with() -> None:
    made: list[int] = []

    @kept(1)
    def numbers(count: int) -> Tensor:
        made.append(count)
        return torch.arange(float(count))

    with torch.inference_mode():
        first = numbers(3)
    weight = torch.ones(3, requires_grad=True)
    (weight * numbers(3)).sum().backward()
    assert first is numbers(3) and made == [3]
    assert numbers(2).tolist() == [0, 1] and numbers(3).equal(first) and made == [3, 2, 3]
