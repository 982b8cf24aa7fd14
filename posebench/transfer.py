"""Copies between the CPU and a GPU, as few as possible.

A GPU computes while Python goes on. A copy from memory that is not pinned, and every copy to the
CPU, makes Python wait until the GPU has caught up, so many tensors travel packed into one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy as shallow_copy
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

# This module loads without torch, as the values that it moves do.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

PACK_BYTES = 2**26  # of tensors that are packed to be saved: a GPU's memory may be nearly full


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors on a device; a GPU gets those of the CPU in one copy, without a wait."""
    import torch

    if device.type == "cuda" and not torch.compiler.is_compiling():
        tensors = _in_one(tensors, lambda row: _pinned(row).to(device, non_blocking=True), "cpu")
    return [tensor.to(device) for tensor in tensors]


def index_on(places: Sequence[int], device: torch.device) -> Tensor:
    """Return places along a dimension as an index on a device."""
    import torch

    [index] = to_device([torch.tensor(places)], device)
    return index


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors on the CPU; those of a GPU come in one copy, which is waited for.

    They are views of one piece of memory, which stays until the last of them is gone: what is kept
    for long has to be a copy.
    """
    tensors = _in_one([tensor.detach() for tensor in tensors], lambda row: row.cpu(), "cuda")
    return [tensor.cpu() for tensor in tensors]


def on_host(value: T) -> T:
    """Return a value with all tensors of a GPU in it on the CPU, in few copies, each for itself.

    Unlike those of `moved` they have memory of their own, laid out as on the GPU, so that they can
    be kept and saved. Others stay.
    """
    import torch

    tensors = list(tensors_in(value))
    there = [tensor for tensor in tensors if tensor.device.type == "cuda"]
    copies = {}
    for pack in _packs(there):
        for own, view in zip(pack, to_host(pack), strict=True):
            copies[id(own)] = torch.empty_like(own, device="cpu").copy_(view)
    filled: T = _filled(value, iter([copies.get(id(tensor), tensor) for tensor in tensors]))
    return filled


def _packs(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors in groups of up to PACK_BYTES, if they are not larger themselves."""
    pack: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if pack and size + tensor.nbytes > PACK_BYTES:
            yield pack
            pack, size = [], 0
        pack.append(tensor)
        size += tensor.nbytes
    if pack:
        yield pack


def moved(value: T, device: torch.device) -> T:
    """Return a value with all tensors in it on a device, in one copy.

    Args:
        value: a tensor, or a dataclass, tuple, list or dict of such values; others stay as they
            are.
        device: where to.
    """
    tensors = list(tensors_in(value))
    copies = to_host(tensors) if device.type == "cpu" else to_device(tensors, device)
    filled: T = _filled(value, iter(copies))
    return filled


def pinned(value: T) -> T:
    """Return a value with all tensors in it in one piece of memory that `to_device` copies whole.

    It is pinned, so that a GPU copies from it without a wait.
    """
    filled: T = _filled(value, iter(_in_one(list(tensors_in(value)), _pinned, "cpu")))
    return filled


def _pinned(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_pinned() else tensor.pin_memory()


def _in_one(tensors: Sequence[Tensor], copy: Any, kind: str) -> list[Tensor]:
    """Return tensors after a copy of those that are on a kind of device; the others stay."""
    import torch

    moving = [number for number, own in enumerate(tensors) if own.device.type == kind]
    results = list(tensors)
    if len(moving) == 1:
        [number] = moving
        results[number] = copy(tensors[number])
    elif (piece := _pinned_piece([tensors[number] for number in moving])) is not None:
        copied = copy(piece)
        for number in moving:
            own = tensors[number]
            begin = own.storage_offset() * own.element_size()
            results[number] = copied[begin : begin + own.nbytes].view(own.dtype).view(own.shape)
    elif moving:
        # The widest types first, so that each begins at a multiple of its width.
        moving.sort(key=lambda number: -tensors[number].element_size())
        flat = [_row(tensors[number]) for number in moving]
        packed = copy(torch.cat([own.view(torch.uint8) for own in flat]))
        begin = 0
        for number, own in zip(moving, flat, strict=True):
            end = begin + own.numel() * own.element_size()
            results[number] = packed[begin:end].view(own.dtype).view(tensors[number].shape)
            begin = end
    return results


def _pinned_piece(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return the bytes that tensors fill together, as those of `pinned` do; otherwise None."""
    import torch

    if not tensors or not all(own.is_contiguous() and own.is_pinned() for own in tensors):
        return None
    storage = tensors[0].untyped_storage()
    if any(own.untyped_storage().data_ptr() != storage.data_ptr() for own in tensors):
        return None
    if sum(own.nbytes for own in tensors) != storage.nbytes():
        return None
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def _row(tensor: Tensor) -> Tensor:
    """Return a tensor's values one after the other in memory."""
    import torch

    row = tensor.reshape(-1)
    # Also a single value may have another stride.
    return row if row.stride(0) == 1 else row.clone(memory_format=torch.contiguous_format)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a dataclass, tuple, list or dict of such values."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    for part in _parts(value):
        yield from tensors_in(part)


def _parts(value: Any) -> list[Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple | list) else []


def _filled(value: Any, tensors: Iterator[Tensor]) -> Any:
    """Return a value with its tensors replaced by others, in their order."""
    import torch

    if isinstance(value, torch.Tensor):
        return next(tensors)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value)]
        return replace(value, **{n: _filled(getattr(value, n), tensors) for n in names})
    if isinstance(value, dict):
        filled = shallow_copy(value)  # a state dict has more than its entries
        filled.update({key: _filled(part, tensors) for key, part in value.items()})
        return filled
    if isinstance(value, tuple | list):
        return type(value)([_filled(part, tensors) for part in value])
    return value
