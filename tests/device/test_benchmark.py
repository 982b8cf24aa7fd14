"""The benchmark for a real card runs on the test device, at a small size."""

from __future__ import annotations

import fcntl
import importlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.device.endless import crashing, endless
from tests.device.ledger import Ledger
from tests.device.measuring import Report, Row, measure
from tests.device.tensors import DEVICE

# By its name, as the process that measures imports it.
benchmark: Any = importlib.import_module("benchmarks.gpu")


def rows_of(work: Any, budget_s: float = 120.0) -> dict[str, Row]:
    return {row.pop("name"): row for row in measure(work, budget_s)}


def test_differences_from_the_cpu(gpu: Ledger) -> None:
    row = benchmark.same_as_on_cpu("pifpaf_tiny", DEVICE)
    assert row["outputs"] < 1e-5 and row["losses"] < 1e-5
    assert row["images_with_other_people"] == 0


def test_training(gpu: Ledger) -> None:
    told: list[tuple[str, str, Row]] = []
    small = {"limit": 2, "settings": {"epochs": 1, "augment.size": 64}, "workers": 0}
    row = benchmark.learned("cid_tiny", DEVICE, Report(told.append), **small)
    assert "AP" in row["metrics"]
    [(_, _, at_first), (_, _, at_last)] = told
    assert at_first["step"] == 1 and at_last["metrics"] == row["metrics"]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_speed(precision: str, gpu: Ledger) -> None:
    row = benchmark.timed("pifpaf_tiny", DEVICE, precision=precision, seconds=0.0)
    assert row["sizes"][0]["latency_ms"] > 0


def test_every_network_is_timed_once() -> None:
    assert len(benchmark.differing_recipes()) > 10
    assert len(benchmark.one_of_each_method()) == len({*benchmark.one_of_each_method()}) > 7


def test_a_part_ends_when_its_time_is_over(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    rows = rows_of(partial(endless, locked=locked), budget_s=2.0)
    assert rows["quick"] == {"latency_ms": 1.0}
    assert rows["wrong"]["error"] == "KeyError: 'latency_ms'"
    assert rows["training"]["stopped"] == "time is over" and rows["training"]["step"] == 7
    assert rows["speed"]["left_out"]
    assert is_free(locked)  # the process that the step had started has ended too


def is_free(locked: Path) -> bool:
    """Return whether nobody holds a file's lock; one who is about to end has ten seconds."""
    with locked.open() as file:
        for _ in range(100):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.1)
            else:
                return True
    return False


def test_a_part_that_dies_says_where() -> None:
    assert rows_of(crashing) == {"first": {"stopped": "exit code 3"}, "second": {"left_out": True}}


def test_published_cases_on_the_test_device() -> None:
    """In a process of its own, whose tests compute there, with a row for each."""
    folder = benchmark.TESTS
    tests = (f"{folder}/test_cid.py::test_decode_centres", f"{folder}/test_ed_pose_training.py")
    part = partial(benchmark.parity, device="test", names=[], tests=tests, only="not whole")
    rows = rows_of(part)
    counts = rows.pop("tests/parity")
    assert counts.keys() == {"passed", "passed, on the CPU"} and sum(counts.values()) == len(rows)
    assert counts["passed"] > 8
    assert any(0 < row.get("share_of_tolerance", 0) < 1 for row in rows.values()), rows
