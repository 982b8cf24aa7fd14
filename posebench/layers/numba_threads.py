"""Compiled parallel loops on as many threads as PyTorch's operations."""

from __future__ import annotations

import numba
import torch


def match_torch_threads() -> None:
    """Let numba's parallel loops use PyTorch's number of threads, where numba has that many.

    To be called before every parallel loop. Both use OpenMP, and when numba first starts its
    threads it sets OpenMP's number, which PyTorch's convolutions then take, too. On a machine whose
    other cores are busy they wait for each other: a training became sixteen times slower.
    """
    threads = torch.get_num_threads()
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(threads, most))  # starts numba's threads
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
