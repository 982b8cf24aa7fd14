"""The memory that one pass needs besides the weights.

On a GPU PyTorch's allocator reports it. On a CPU it is the growth of the process's resident set;
Linux stores its peak, which can be reset. On systems without that, a thread polls the resident set.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from posebench.engine.allocator import freed_memory_returned

_SELF = Path("/proc/self")


def peak_growth(device: torch.device, work: Callable[[], Any]) -> int:
    """Return the peak memory in bytes while `work` runs, minus the memory before it."""
    if device.type == "cuda":
        return _on_gpu(device, work)
    with freed_memory_returned():
        return _on_cpu(work)


def _on_gpu(device: torch.device, work: Callable[[], Any]) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _on_cpu(work: Callable[[], Any]) -> int:
    _release_freed()
    before = _resident("VmRSS")
    if _reset_peak():
        work()
        return max(_resident("VmHWM") - before, 0)
    with _Poller() as poller:
        work()
    return max(poller.peak - before, 0)


def _release_freed() -> None:
    """Return freed memory to the system; if a pass reused it, it would seem to need none."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _resident(field: str) -> int:
    """Return the bytes of Linux's VmRSS (the resident set) or VmHWM (its peak)."""
    for line in (_SELF / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def _reset_peak() -> bool:
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


class _Poller:
    """Polls the resident set every few milliseconds."""

    def __enter__(self) -> _Poller:
        self.peak = 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._poll, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()

    def _poll(self) -> None:
        while not self.stopped.wait(0.005):
            self.peak = max(self.peak, _resident("VmRSS"))
