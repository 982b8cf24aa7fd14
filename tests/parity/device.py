"""Where parity tests compute: on the CPU, or on the device in POSEBENCH_PARITY_DEVICE.

    POSEBENCH_PARITY_DEVICE=cuda:0 pytest -n 0 tests/parity

`test` is the device of `tests/device`, for machines without a GPU. What a CPU computes beside any
device stays there: annotated people and geometry, the loaders' warps and PifPaf's fields, numba's
part of decoding, and metrics.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from posebench.engine.evaluation import autocast
from posebench.structures import Batch
from posebench.transfer import moved

T = TypeVar("T")

_NAMED = os.environ.get("POSEBENCH_PARITY_DEVICE", "cpu")
CPU = torch.device("cpu")
DEVICE = torch.device("cuda:0" if _NAMED == "test" else _NAMED)
PLACED: list[str] = []  # what a test has put on the device


@contextmanager
def parity_device() -> Iterator[None]:
    """Within, the device is there, and computes in float32, the same at every time."""
    if DEVICE == CPU:
        yield
        return
    there: AbstractContextManager[Any] = nullcontext()
    if _NAMED == "test":
        from tests.device.gpu import pretended_gpu  # takes long to import

        there = pretended_gpu()
    with there, autocast(DEVICE, "fp32"):
        torch.backends.cudnn.deterministic = True
        yield


def tensor(array: Any) -> Tensor:
    """Return a case's array, from which something is computed on the device."""
    PLACED.append("array")
    return cpu_tensor(array).to(DEVICE)


def cpu_tensor(array: Any) -> Tensor:
    """Return a case's array that belongs on the CPU on every device."""
    return torch.from_numpy(np.asarray(array))


def read(path: Path, device: torch.device = DEVICE) -> dict[str, Tensor]:
    """Return the arrays of a case, except its texts, as tensors on a device."""
    with np.load(path) as case:
        arrays = {name: case[name] for name in case.files if case[name].dtype.kind != "U"}
    if device == DEVICE:
        PLACED.append(path.name)
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def placed(value: T) -> T:
    """Return a network, a batch, or a value with tensors in it, on the device."""
    PLACED.append(type(value).__name__)
    there: Any = value.to(DEVICE) if isinstance(value, nn.Module | Batch) else moved(value, DEVICE)
    return there
