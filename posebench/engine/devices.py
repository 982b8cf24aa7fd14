"""Devices by name."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from posebench.errors import UsageError

if TYPE_CHECKING:
    import torch

# What torch calls the devices that networks run on.
_NAMES = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d+)?")


def pick_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is a GPU where there is one.

    Raises:
        UsageError: there is no such device on this machine.
    """
    refusal = UsageError(
        f"The device {name!r} cannot be used on this machine: choose auto, cpu or cuda."
    )
    if not _NAMES.fullmatch(name):
        raise refusal
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{torch.cuda.current_device()}"  # each rank has its own
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise refusal from None
    return device


def default_workers(device: torch.device) -> int:
    """Return how many processes should load images beside a network on a device."""
    # On a CPU they take cores from the network, each of whose parallel loops then waits for its
    # slowest thread: 40 images a second were measured on two cores, instead of 48.
    return 0 if device.type == "cpu" else min(8, os.cpu_count() or 1)
