"""A part of a benchmark that does not end by itself, for `test_benchmark.py`."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from tests.device.measuring import Report, Row

_SLEEP = "import time; time.sleep(600)"


def endless(report: Report, locked: Path) -> None:
    """Take a step, fail in the next, and in the third start a process that holds a file's lock."""

    def training() -> Row:
        report.reached("training", {"step": 7})
        with locked.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            subprocess.run([sys.executable, "-c", _SLEEP], pass_fds=[file.fileno()], check=True)
        return {}

    quick: Row = {"latency_ms": 1.0}
    wrong: Row = {}
    report.steps(
        {
            "quick": lambda: quick,
            "wrong": lambda: wrong["latency_ms"],
            "training": training,
            "speed": lambda: quick,
        }
    )


def crashing(report: Report) -> None:
    report.plan(["first", "second"])
    report.begin("first")
    raise SystemExit(3)
