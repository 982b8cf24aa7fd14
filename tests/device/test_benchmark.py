"""The benchmark for a real card runs on the test device, at a small size."""

from __future__ import annotations

import importlib.util
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from posebench.bench.speed import timed_model
from posebench.bench.speed.clock import CudaClock
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE

_FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
_SPEC = importlib.util.spec_from_file_location("benchmark_of_gpus", _FILE)
assert _SPEC is not None and _SPEC.loader is not None
benchmark: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(benchmark)


def rows_of(part: str, plan: Any, folder: Path, budget_s: float = 600.0) -> list[dict[str, Any]]:
    out = folder / "gpu.jsonl"
    benchmark.measure(part, plan, out, budget_s)
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_parity(tmp_path: Path, gpu: Ledger) -> None:
    [row] = rows_of("parity", islice(benchmark.parity_plan(DEVICE, ["pifpaf_tiny"]), 1), tmp_path)
    assert row["outputs"] < 1e-5 and row["losses"] < 1e-5
    assert row["images_with_other_people"] == 0


def test_training(tmp_path: Path, gpu: Ledger) -> None:
    small = {"limit": 2, "settings": {"epochs": 1, "augment.size": 64}, "workers": 0}
    plan = benchmark.train_plan(DEVICE, ("cid_tiny",), **small)
    [row] = rows_of("train", plan, tmp_path)
    assert "AP" in row["metrics"], row


def test_speed(tmp_path: Path, gpu: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = CudaClock(torch.cuda.Event, torch.cuda.synchronize)
    monkeypatch.setattr(benchmark, "clock_for", lambda _: clock)
    monkeypatch.setattr(timed_model, "_WARM_UP_SIDE", 64)
    plan = benchmark.speed_plan(DEVICE, ["pifpaf_tiny"], seconds=0.0)
    rows = rows_of("speed", plan, tmp_path)
    assert [row["name"].split()[1] for row in rows] == ["fp32", "tf32", "bf16", "fp16"]
    assert all(row["sizes"][0]["latency_ms"] > 0 for row in rows), rows


def test_what_the_budget_leaves_out_is_said(tmp_path: Path) -> None:
    rows = rows_of("speed", benchmark.speed_plan(DEVICE), tmp_path, budget_s=-1.0)
    assert len(rows) > 40 and all(row["left_out"] for row in rows)
