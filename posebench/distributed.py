"""Several processes that work on one batch together, as `torchrun` starts them.

Alone, every function here answers at once. Together, all processes must call the same ones in the
same order, or they wait for each other for ever.
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
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return how many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that `torchrun` started beside this one, each with a GPU if there are."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def mean_count(count: int, device: torch.device) -> float | Tensor:
    """Return the mean count over the processes, as if there were one thing at least in all.

    A loss that is divided by it, and whose gradients are then averaged over the processes, has the
    gradients of one process with the joint batch.
    """
    if world_size() == 1:
        return max(count, 1)
    return all_reduce_(torch.tensor(float(count), device=device)).clamp(min=1) / world_size()


def mean_counts(counts: Tensor) -> Tensor:
    """Return `mean_count` of several counts at once, in float32."""
    return all_reduce_(counts.float()).clamp(min=1) / world_size()


def all_reduce_(values: Tensor) -> Tensor:
    """Return the sum over the processes; `values` itself is changed."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Replace the tensors by those of the first process, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def any_rank(flags: list[bool], device: torch.device) -> list[bool]:
    """Return which flags are set in at least one process."""
    if world_size() == 1:
        return flags
    found: list[float] = all_reduce_(
        torch.tensor(flags, dtype=torch.float32, device=device)
    ).tolist()
    return [value > 0 for value in found]


def broadcast_object(value: T) -> T:
    """Return what the first process passes; what the others pass is not looked at."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box)
    shared: T = box[0]
    return shared


def all_gather_object(value: T) -> list[T]:
    """Return what every process passes, in the order of their numbers."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values
