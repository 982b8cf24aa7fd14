"""What else the machine did while a model was timed: other load, stolen time, throttling.

Counters of the system are read before and after each turn, never while a pass is timed. Linux has
them in /proc and /sys; elsewhere nothing is known, and the column of the rows is empty. On a GPU
the driver's reasons for a lower clock are asked, where NVIDIA's Python bindings are installed.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUIET = "none seen"  # the system tells, and there was nothing to tell

# What is mentioned, in cores or as a share; less is the system's own noise.
_OTHER_CORES = 0.1
_STOLEN = 0.01
_CLOCK = 0.9  # lowest clock relative to the highest of the same row

# NVML's bits; an idle GPU, or one whose clock was set on purpose, is not throttled.
_GPU_REASONS = {
    0x4: "power cap", 0x8: "hardware slowdown", 0x20: "thermal", 0x40: "thermal",
    0x80: "power brake",
}  # fmt: skip


@dataclass(frozen=True)
class Counters:
    """The system's counters at one moment; None: it does not tell."""

    busy_s: float | None = None  # CPU time of all cores together
    stolen_s: float | None = None  # given to other virtual machines
    total_s: float | None = None
    own_s: float = 0.0  # CPU time of the timed process and of this one
    clock_khz: float | None = None  # mean of all cores
    throttled: int | None = None  # events of the cores' thermal control
    held_s: float | None = None  # the cgroup's CPU limit held processes back
    gpu: frozenset[str] = frozenset()


@dataclass
class Load:
    """What was seen over the turns of a row."""

    turns: int = 0  # about which the system told something
    other_s: float = 0.0
    stolen_s: float = 0.0
    total_s: float = 0.0
    cores: int = 1
    clocks: list[float] = field(default_factory=list)  # kHz at the ends of turns
    throttled: int = 0
    held_s: float = 0.0
    gpu: set[str] = field(default_factory=set)

    def add(self, before: Counters, after: Counters) -> None:
        """Add what happened between two moments."""
        if after.clock_khz is not None:
            self.clocks.append(after.clock_khz)
        self.throttled += _rise(before.throttled, after.throttled, int)
        self.held_s += _rise(before.held_s, after.held_s, float)
        self.gpu |= before.gpu | after.gpu
        if before.total_s is None or after.total_s is None:
            return
        self.turns += 1
        self.total_s += after.total_s - before.total_s
        self.stolen_s += _rise(before.stolen_s, after.stolen_s, float)
        busy = _rise(before.busy_s, after.busy_s, float)
        self.other_s += max(busy - (after.own_s - before.own_s), 0.0)

    def __str__(self) -> str:
        """Return it in words; empty: the system does not tell."""
        words = []
        wall_s = self.total_s / self.cores
        if wall_s > 0 and self.other_s / wall_s >= _OTHER_CORES:
            words.append(f"other processes {self.other_s / wall_s:.1f} cores")
        if self.total_s > 0 and self.stolen_s / self.total_s >= _STOLEN:
            words.append(f"stolen {100 * self.stolen_s / self.total_s:.0f} %")
        if self.clocks and min(self.clocks) < _CLOCK * max(self.clocks):
            low, high = min(self.clocks) / 1e6, max(self.clocks) / 1e6
            words.append(f"clock {low:.1f} to {high:.1f} GHz")
        if self.throttled:
            words.append(f"CPU too hot {self.throttled} times")
        if self.held_s >= 0.01:
            words.append(f"held back by the CPU limit {self.held_s:.1f} s")
        if self.gpu:
            words.append(f"GPU throttled: {', '.join(sorted(self.gpu))}")
        if words:
            return "; ".join(words)
        return QUIET if self.turns else ""


def _rise(before: Any, after: Any, kind: Callable[[Any], Any]) -> Any:
    """Return by how much a counter has risen; 0 where it is not known."""
    return kind(0) if before is None or after is None else max(after - before, kind(0))


class LoadReader:
    """Reads the system's counters.

    Args:
        device: that models are timed on.
        root: where /proc and /sys are.
    """

    def __init__(self, device: str = "cpu", root: Path = Path("/")) -> None:
        self.root = root
        self.tick_s = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
        cpus = root / "sys/devices/system/cpu"
        self.clock_files = sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self.throttle_files = sorted(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
        self.gpu_reasons = _gpu_reasons(device) if device.startswith("cuda") else None

    def new_load(self) -> Load:
        """Return a load to which nothing has been added."""
        lines = self._text("proc/stat").splitlines()
        return Load(cores=max(sum(line[:3] == "cpu" and line[3:4] != " " for line in lines), 1))

    def read(self, processes: Sequence[int] = ()) -> Counters:
        """Return the counters now.

        Args:
            processes: ids of those whose time is not other load, besides this one.
        """
        ticks = _numbers(self._text("proc/stat").partition("\n")[0])
        busy = stolen = total = None
        if len(ticks) >= 8:  # user, nice, system, idle, iowait, irq, softirq, steal
            busy = self.tick_s * (sum(ticks[:3]) + sum(ticks[5:7]))
            stolen = self.tick_s * ticks[7]
            total = self.tick_s * sum(ticks[:8])
        clocks = [value for file in self.clock_files for value in _numbers(_read(file))]
        throttled = [value for file in self.throttle_files for value in _numbers(_read(file))]
        return Counters(
            busy,
            stolen,
            total,
            sum(self._time_of(process) for process in (*processes, os.getpid())),
            sum(clocks) / len(clocks) if clocks else None,
            int(sum(throttled)) if throttled else None,
            self._held(),
            frozenset(self.gpu_reasons()) if self.gpu_reasons else frozenset(),
        )

    def _time_of(self, process: int) -> float:
        """Return the seconds of CPU time of a process and of the children that it waited for."""
        # The name in brackets may contain spaces.
        fields = self._text(f"proc/{process}/stat").rpartition(")")[2].split()
        return self.tick_s * sum(map(int, fields[11:15]))

    def _held(self) -> float | None:
        """Return how many seconds the cgroup's limit has held its processes back."""
        for line in self._text("sys/fs/cgroup/cpu.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == "throttled_usec":
                return int(value) / 1e6
        return None

    def _text(self, path: str) -> str:
        return _read(self.root / path)


def _read(path: Path) -> str:
    """Return a file's text; empty: there is none, or not for us."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    return ""


def _numbers(line: str) -> list[float]:
    return [float(word) for word in line.split() if word.isdecimal()]


def _gpu_reasons(device: str) -> Callable[[], set[str]] | None:
    """Return what asks a GPU why its clock is lower; None: NVIDIA's bindings are not here."""
    import torch

    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        properties: Any = torch.cuda.get_device_properties(torch.device(device))
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
        ask = nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        ask(handle)
    except Exception:  # the bindings raise types of their own, and lack some functions
        return None

    def asked() -> set[str]:
        with suppress(Exception):  # a driver that is being updated
            return gpu_reasons(int(ask(handle)))
        return set()

    return asked


def gpu_reasons(bits: int) -> set[str]:
    """Return NVML's reasons for a lower clock in words, without those that are no throttling."""
    return {word for bit, word in _GPU_REASONS.items() if bits & bit}
