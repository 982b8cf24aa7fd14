"""`posebench speed` as a user sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from posebench.bench.speed.benchmark import run_speed_benchmark
from posebench.bench.speed.options import TimingJob
from posebench.bench.speed.timed_model import TimedModel
from tests.bench.speed.fakes import FakeModel
from tests.cli.command import only, run

QUICK = ("--quick", "--budget", "0", "--device", "cpu", "--threads", "1")


@pytest.mark.parametrize("make", [FakeModel, pytest.param(TimedModel, marks=pytest.mark.slow)])
def test_a_model_is_timed_into_a_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[TimingJob], object]
) -> None:
    monkeypatch.setattr(
        "posebench.bench.speed.benchmark.run_speed_benchmark",
        partial(run_speed_benchmark, make=make),
    )
    result = run("speed", "--models", "cid_tiny", "--people", "2", *QUICK, "--json")
    assert result.code == 0, result.err
    reply = json.loads(result.out)
    assert reply["schema_version"] == 1
    rows = pd.DataFrame(reply["rows"])
    values = dict(zip(rows["metric"], rows["value"], strict=True))
    assert values["rounds"] == 3
    assert {"stage/decode image_p50", "forward_p50", "fps", "peak_MB"} <= values.keys()
    folder = only(tmp_path, "runs/speed/cid_tiny_end-to-end_*")
    saved = pd.read_csv(folder / "results.csv")
    assert saved["metric"].tolist() == rows["metric"].tolist()
    assert json.loads((folder / "environment.json").read_text())["cpu_threads"] == 1
    assert (folder / "stages.png").exists()
    again = run("speed", "--models", "cid_tiny", "--people", "2", *QUICK, "--resume", folder)
    assert again.code == 0, again.err
    assert "cid_tiny" in again.out
    pd.testing.assert_frame_equal(pd.read_csv(folder / "results.csv"), saved)
    assert (folder / "environment-2.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--models", "cid_tinny"), "Did you mean cid_tiny"),
        (("--protocol", "papers"), "Did you mean paper"),
        (("--precision", "fp8"), "fp16"),
        (("--models", "cid_tiny", "--people", "5,x"), "--people"),
        (("--models", "cid_tiny", "--people", "0"), "--people"),
        (("--models", "cid_tiny", "--backend", "torch,,"), "onnxruntime, not 'torch,,'"),
        (("--models", "cid_tiny", "--device", "gpu"), "'gpu'"),
        (("--models", "posedet_tiny", "--alternatives"), "--alternatives"),
        (("--models", "cid_tiny", "--protocol", "paper", "--batch-size", "2"), "--batch-size"),
        (("--models", "cid_tiny", "--resume", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    result = run("speed", *words)
    assert result.code == 2
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1
