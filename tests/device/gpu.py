"""A GPU for tests, on machines that have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # operators of tensor classes import it, which must not see the device
from torch.optim import optimizer
from torch.utils import _foreach_utils

from tests.device.driver import driver
from tests.device.ledger import LEDGER, Ledger
from tests.device.streams import STREAMS, Event, Stream
from tests.device.tensors import DEVICE, FUNCTIONS, DeviceTensor, Dispatch, unpin_all

MEMORY = 2**36


class _Graph:
    """A recorded pass, whose results stay those of the recording."""

    def replay(self) -> None: ...


@contextmanager
def _recording(_: _Graph) -> Iterator[None]:
    before = LEDGER.waits.total()
    yield
    if LEDGER.waits.total() > before:
        raise RuntimeError("operation not permitted when stream is capturing")


def _nothing(*_: Any, **__: Any) -> None: ...


def _synchronize(*_: Any) -> None:
    LEDGER.wait("synchronize")
    STREAMS.wait_for_all()


_API: dict[str, Any] = {
    "_lazy_init": _nothing, "is_initialized": lambda: True, "set_device": _nothing,
    "is_available": lambda: True, "device_count": lambda: 1, "current_device": lambda: 0,
    "synchronize": _synchronize, "Event": Event, "Stream": Stream,
    "CUDAGraph": _Graph, "graph": _recording, "stream": STREAMS.within,
    "current_stream": lambda *_: STREAMS.current, "default_stream": lambda *_: STREAMS.default,
    "get_device_name": lambda *_: "test device",
    "is_bf16_supported": lambda *_, **__: True, "get_device_capability": lambda *_: (8, 0),
    "mem_get_info": lambda *_: (MEMORY, MEMORY), "memory_allocated": lambda *_: 0,
    "max_memory_allocated": lambda *_: 2**20, "reset_peak_memory_stats": _nothing,
    "manual_seed": _nothing, "manual_seed_all": _nothing, "empty_cache": _nothing,
    "get_rng_state": lambda *_: torch.get_rng_state(), "set_rng_state": _nothing,
    "is_current_stream_capturing": lambda: False,
    "get_device_properties": lambda *_: SimpleNamespace(
        name="test device", total_memory=MEMORY, major=8, minor=0
    ),
}  # fmt: skip


def _submit(pool: ThreadPoolExecutor, work: Callable[..., Any], *args: Any) -> Future[Any]:
    """Hand over work to a thread that has the device too."""

    def on_device(*args: Any) -> Any:
        with Dispatch():
            return work(*args)

    return _ordinary_submit(pool, on_device, *args)


_ordinary_submit = ThreadPoolExecutor.submit


@contextmanager
def pretended_gpu() -> Iterator[Ledger]:
    """Within, there is a GPU as far as Python can see; yields what it is made to do.

    It has CUDA's autocast lists, CUDA's composite operators and autograd's handling of devices.
    It does not show TF32 and cuDNN's arithmetic, the order in which atomics add, the limits of
    kernels, streams, memory, time, several devices and what torch.compile makes for CUDA.
    """
    driver().exchange()
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    with ExitStack() as stack:
        stack.callback(driver().exchange)
        stack.callback(unpin_all)
        for name, value in _API.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        for owner, name, function in FUNCTIONS:
            stack.enter_context(mock.patch.object(owner, name, function))
        stack.enter_context(
            mock.patch.object(torch.accelerator, "current_stream", lambda *_: STREAMS.current)
        )
        for module in (optimizer, _foreach_utils):
            kinds = getattr(module, "_foreach_supported_types", None)
            if kinds is not None and DeviceTensor not in kinds:
                kinds.append(DeviceTensor)
        stack.enter_context(mock.patch.object(ThreadPoolExecutor, "submit", _submit))
        # Sums of several threads differ by how many there are, and PoseDet's assignment, which is
        # discrete, makes of a rounding another loss three steps later.
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        torch.__future__.set_swap_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swaps)
        stack.enter_context(Dispatch())
        LEDGER.clear()
        STREAMS.clear()
        yield LEDGER


__all__ = ["DEVICE", "pretended_gpu"]
