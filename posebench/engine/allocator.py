"""Memory that one pass of a network frees and the next one needs again."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of mallopt's options
# Bytes at the end of the heap above which they are returned, and of a piece that has its own pages.
_KEPT = (-1, 32 * 2**20)  # never, and glibc's highest limit
_RETURNED = (128 * 2**10, 128 * 2**10)  # at which glibc starts
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Let this process keep what it frees, in pieces of up to 32 MB, for its next allocations.

    glibc returns memory to the system when much is free at the end of its heap, as after every pass
    of a network. The next pass then waits for each page anew, and the return itself takes
    milliseconds, of whichever stage happens to free something next.

    For processes that are posebench's own: the programs of others choose for themselves. Nothing is
    done without glibc, or where its variables in the environment have chosen.
    """
    _set(_KEPT)


@contextmanager
def freed_memory_returned() -> Iterator[None]:
    """In a process that keeps what it frees, return it soon: the resident set is what is needed."""
    _set(_RETURNED)
    try:
        yield
    finally:
        _set(_KEPT)


def _set(thresholds: tuple[int, int]) -> None:
    if sys.platform != "linux" or any(name in os.environ for name in _CHOSEN):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, threshold in zip((_TRIM_THRESHOLD, _MMAP_THRESHOLD), thresholds, strict=True):
            mallopt(option, threshold)
