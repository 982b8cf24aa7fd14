"""Operators that every runtime has, in place of those that are fastest in PyTorch.

While a network is exported, the layers that have a second form compute in it: the same numbers up
to the order of additions, by operators that ONNX and OpenVINO know, without loops over people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from posebench.layers.kept import kept
from posebench.transfer import to_device

_portable = ContextVar("portable operators", default=False)


@contextmanager
def portable_operators() -> Iterator[None]:
    """Compute in the forms that can be exported."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def portable() -> bool:
    """Return whether a network is being exported."""
    return _portable.get()


def ratio(size: int, other: int, device: torch.device) -> Tensor | float:
    """Return one size of a map over another; in an exported graph of any size, as a tensor."""
    if not portable():
        return size / other
    over, under = (torch.scalar_tensor(side, device=device) for side in (size, other))
    return over / under


def constant(
    numbers: tuple[Any, ...], device: torch.device, dtype: torch.dtype = torch.int64
) -> Tensor:
    """Return numbers, or tuples of them, as a tensor on a device, which is sent once.

    Copying them anew would hold up Python until a GPU has caught up.
    """
    if torch.compiler.is_compiling():  # they become constants of the graph
        return torch.tensor(numbers, dtype=dtype, device=device)
    return _sent(numbers, device, dtype)


@kept(256)  # a network asks for the same ones again and again
def _sent(numbers: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    [tensor] = to_device([torch.tensor(numbers, dtype=dtype)], device)
    return tensor


def sizes_tensor(sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """Return the widths and heights (L, 2) of maps whose heights and widths are given.

    In an exported graph of any size they are not numbers yet, and a tensor cannot be made of them
    at once.
    """
    if not portable():
        return constant(tuple((width, height) for height, width in sizes), device)
    rows = [
        torch.stack([torch.scalar_tensor(side, device=device) for side in (width, height)])
        for height, width in sizes
    ]
    return torch.stack(rows)
