"""How much memory one pass takes beside the weights.

On a GPU PyTorch's allocator knows. On a CPU the process's resident set does, of which Linux keeps
the highest value and lets it be reset; where it does not, a thread looks every few milliseconds.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_SELF = Path("/proc/self")


def growth(device: torch.device, work: Callable[[], Any]) -> int:
    """Return by how many bytes memory rises at most while `work` runs."""
    return _on_gpu(device, work) if device.type == "cuda" else _on_cpu(work)


def _on_gpu(device: torch.device, work: Callable[[], Any]) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _on_cpu(work: Callable[[], Any]) -> int:
    _give_back()
    before = _resident("VmRSS")
    if _reset_highest():
        work()
        return max(_resident("VmHWM") - before, 0)
    with _Watcher() as watcher:
        work()
    return max(watcher.highest - before, 0)


def _give_back() -> None:
    """Have freed memory leave the resident set, or a pass would take it and seem to need none."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _resident(field: str) -> int:
    """Return bytes of Linux's VmRSS (now) or VmHWM (highest)."""
    for line in (_SELF / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def _reset_highest() -> bool:
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


class _Watcher:
    """Looks at the resident set every few milliseconds."""

    def __enter__(self) -> _Watcher:
        self.highest = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.done.wait(0.005):
            self.highest = max(self.highest, _resident("VmRSS"))
