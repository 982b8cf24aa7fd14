"""Devices by name, and the precision that suits them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

from posebench.errors import UsageError
from posebench.recipe import Precision, check_precision

if TYPE_CHECKING:
    import torch

# What torch calls the devices that networks run on.
_NAMES = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d+)?")


def pick_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is a GPU where there is one.

    A GPU becomes the current one of this thread.

    Raises:
        UsageError: there is no such device on this machine.
    """
    refused = f"The device {name!r} cannot be used on this machine"
    if not _NAMES.fullmatch(name):
        raise UsageError(f"{refused}: choose auto, cpu or cuda.")
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if name == "cuda":
            name = f"cuda:{torch.cuda.current_device()}"  # each rank has its own
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "cuda":
            # Pinned memory, streams and events are those of the current GPU, whichever computes:
            # beside `cuda:1` they would take memory and time of the first one.
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not name.startswith("cuda") or not count:
            raise UsageError(f"{refused}: choose auto or cpu.") from None
        last = f" to cuda:{count - 1}" if count > 1 else ""
        raise UsageError(f"{refused}, which has cuda:0{last}.") from None
    return device


def default_workers(device: torch.device) -> int:
    """Return how many processes should load images beside a network on a device."""
    # On a CPU they take cores from the network, each of whose parallel loops then waits for its
    # slowest thread: 40 images a second were measured on two cores, instead of 48.
    return 0 if device.type == "cpu" else min(8, os.cpu_count() or 1)


def pick_precision(name: str, device: torch.device) -> Precision:
    """Return the precision of that name; `auto` is bf16 where the hardware computes in it.

    Raises:
        UsageError: it is neither fp32, tf32, bf16 nor auto.
    """
    check_precision(name)
    if name == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    return cast(Precision, name)


def has_bf16(device: torch.device) -> bool:
    """Return whether the hardware computes in bfloat16; otherwise it is slower than float32.

    PyTorch has quick kernels for CPUs under Linux only: x86 with AVX-512 or AMX, and ARM.
    """
    if device.type == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    flags = (cpu_info("flags") or cpu_info("Features")).split()  # x86, ARM
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def cpu_info(field: str) -> str:
    """Return a field of the first core in Linux's /proc/cpuinfo, or an empty string."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return ""
