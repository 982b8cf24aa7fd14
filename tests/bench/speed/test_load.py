"""Load and throttling from the system's counters, in files made for the tests."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from posebench.bench.speed.load import QUIET, Counters, Load, LoadReader, gpu_reasons

TICKS = os.sysconf("SC_CLK_TCK")
PROCESS = 77


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def machine(
    root: Path, *, user: float = 0, idle: float = 0, steal: float = 0, own: float = 0,
    khz: int = 0, hot: int = 0, held: float = 0,
) -> Counters:  # fmt: skip
    """Write what a machine of two cores tells, times in seconds, and read it."""
    stat = f"{user * TICKS:.0f} 0 0 {idle * TICKS:.0f} 0 0 0 {steal * TICKS:.0f} 0 0"
    write(root, "proc/stat", f"cpu  {stat}\ncpu0 {stat}\ncpu1 {stat}\nintr 1\n")
    fields = ["S", *["0"] * 10, f"{own * TICKS:.0f}", "0", "0", "0", "20"]
    write(root, f"proc/{PROCESS}/stat", f"{PROCESS} (a (bad) name) {' '.join(fields)}\n")
    if khz:
        for core in range(2):
            write(root, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{khz}\n")
    if hot:
        place = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
        write(root, place, f"{hot}\n")
    if held:
        write(root, "sys/fs/cgroup/cpu.stat", f"nr_periods 1\nthrottled_usec {held * 1e6:.0f}\n")
    return LoadReader(root=root).read([PROCESS])


def load_of(root: Path, *moments: Counters) -> str:
    load = LoadReader(root=root).new_load()
    for before, after in pairwise(moments):
        load.add(before, after)
    return str(load)


def test_a_quiet_machine_says_so_and_an_unknown_one_nothing(tmp_path: Path) -> None:
    start = machine(tmp_path)
    assert load_of(tmp_path, start, machine(tmp_path, user=1, idle=1, own=1)) == QUIET
    unknown = LoadReader(root=tmp_path / "elsewhere")
    load = unknown.new_load()
    load.add(unknown.read([PROCESS]), unknown.read([PROCESS]))
    assert str(load) == ""


def test_what_other_processes_take_is_counted_in_cores(tmp_path: Path) -> None:
    # In one second two cores worked for 1.6 s, of which the timed process took one.
    moments = machine(tmp_path), machine(tmp_path, user=1.6, idle=0.4, own=1)
    assert load_of(tmp_path, *moments) == "other processes 0.6 cores"
    # What happens between the turns does not count.
    load = LoadReader(root=tmp_path).new_load()
    for start in (0, 100):
        load.add(
            machine(tmp_path, user=start, idle=start, own=start),
            machine(tmp_path, user=start + 1, idle=start + 1, own=start + 1),
        )
    assert str(load) == QUIET and load.turns == 2


def test_stolen_time_and_throttling(tmp_path: Path) -> None:
    before = machine(tmp_path, khz=3_000_000, hot=4, held=1.0)
    first = machine(tmp_path, user=1, idle=0.9, steal=0.1, own=1, khz=3_000_000, hot=4, held=1)
    last = machine(tmp_path, user=2, idle=1.8, steal=0.2, own=2, khz=2_000_000, hot=6, held=1.5)
    assert load_of(tmp_path, before, first, last) == (
        "stolen 5 %; clock 2.0 to 3.0 GHz; CPU too hot 2 times; held back by the CPU limit 0.5 s"
    )
    assert load_of(tmp_path, before, first) == "stolen 5 %"


def test_reasons_of_a_gpu() -> None:
    assert gpu_reasons(0x1 | 0x2) == set()  # idle, or set on purpose
    assert gpu_reasons(0x4 | 0x40 | 0x20) == {"power cap", "thermal"}
    load = Load()
    load.add(Counters(), Counters(gpu=frozenset({"thermal"})))
    assert str(load) == "GPU throttled: thermal"


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux has these counters")
def test_this_machine_tells_how_long_this_process_ran() -> None:
    reader = LoadReader()
    before = reader.read()
    assert before.busy_s is not None and before.total_s is not None
    assert before.own_s > 0 and before.busy_s < before.total_s
    assert sum(range(3_000_000)) > 0
    after = reader.read()
    assert after.own_s > before.own_s and after.total_s is not None
    assert after.total_s >= before.total_s
