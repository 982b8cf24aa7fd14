"""Collective operations over the ranks that `torchrun` starts.

Without a process group every function returns at once, so there is one code path. With one, all
ranks must call the same functions in the same order, or they deadlock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    """Return the rank of this process; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group() -> Iterator[None]:
    """Join the process group that `torchrun` started; with GPUs, each rank uses its own."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def mean_count(count: int | Tensor, device: torch.device) -> float | Tensor:
    """Return the mean of a count over the ranks; the total is taken to be at least 1.

    A count that is still being computed on the device is passed as a tensor, which is not read.

    A loss that is divided by it, and whose gradients are averaged over the ranks, has the gradients
    of a single process with the joint batch.
    """
    if world_size() == 1:
        return count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1)
    if isinstance(count, Tensor):
        own = count.to(torch.float32, copy=True)
    else:
        own = torch.full((), float(count), device=device)
    return all_reduce_(own).clamp(min=1) / world_size()


def mean_counts(counts: Tensor) -> Tensor:
    """Return `mean_count` of several counts at once, in float32."""
    return all_reduce_(counts.float()).clamp(min=1) / world_size()


def all_reduce_(values: Tensor) -> Tensor:
    """Sum the values over all ranks, in place, and return them."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Overwrite the tensors with those of rank 0, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def any_rank(flags: list[bool], device: torch.device) -> list[bool]:
    """Return which flags are set on at least one rank."""
    if world_size() == 1:
        return flags
    counts = all_reduce_(torch.tensor(flags, dtype=torch.float32, device=device))
    return [count > 0 for count in counts.tolist()]


def broadcast_object(value: T) -> T:
    """Return the value that rank 0 passes; those of other ranks are ignored."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box)
    shared: T = box[0]
    return shared


def all_gather_object(value: T) -> list[T]:
    """Return the values of all ranks, in the order of the ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values
