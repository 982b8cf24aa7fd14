"""How a method's network becomes a graph of named tensors, and its outputs come back from them.

`export` writes the graph in the format of another runtime; a network that is read from such a file
decodes what the runtime returns as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from posebench.models.base import PoseModel

M = TypeVar("M", bound=PoseModel)
Named = Mapping[str, Tensor]


def _all_outputs(model: PoseModel, images: Tensor, padding: Tensor | None, flip: bool) -> Named:
    return dict(_named(model(images, padding)))


def _named(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in outputs, named after the fields and places where they are."""
    if isinstance(value, Tensor):
        yield name or "outputs", value
        return
    for key, part in _parts(value):
        yield from _named(part, f"{name}_{key}" if name else key)


def _parts(value: Any) -> list[tuple[str, Any]]:
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple | list):
        return [(str(number), part) for number, part in enumerate(value)]
    if isinstance(value, dict):
        return [(str(key), part) for key, part in value.items()]
    return []


def _restore_all(model: PoseModel, tensors: Named, size: tuple[int, int]) -> Any:
    """Return outputs like those that the network without weights has for a blank image."""
    count = len(next(iter(tensors.values())))
    blank = torch.zeros(count, 3, *size, device="meta")
    return _filled(model.heads(model.features(blank)), tensors)


def _filled(value: Any, tensors: Named, name: str = "") -> Any:
    if isinstance(value, Tensor):
        return tensors[name or "outputs"]
    parts = {
        key: _filled(part, tensors, f"{name}_{key}" if name else key) for key, part in _parts(value)
    }
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **parts)
    if isinstance(value, tuple | list):
        return type(value)(parts.values())
    return parts if isinstance(value, dict) else value


@dataclass(frozen=True)
class Graph(Generic[M]):
    """A method's network as a graph; the default returns every tensor of the outputs."""

    # (model, images, padding, flip) -> the graph's outputs by name; the first dimension of each
    # numbers the images.
    outputs: Callable[[M, Tensor, Tensor | None, bool], Named] = _all_outputs
    # (model, outputs by name, H and W of the images) -> what `decode` reads.
    restored: Callable[[M, Named, tuple[int, int]], Any] = _restore_all
    merges_mirror: bool = False  # whether the mirrored images are merged in the graph, with `flip`
    # Outputs whose second dimension numbers people or queries in the order of their scores, which
    # may differ where scores are equal; the first of them tells one from another.
    slots: tuple[str, ...] = ()
    reads_padding: bool = False  # whether the network has to know where images are padded
