"""Two processes, as `torchrun` starts them, against one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from posebench.cli.launch import launch
from posebench.data.loader import MicroBatchSampler
from posebench.engine import read_log
from posebench.errors import UsageError
from tests.builders import write_coco
from tests.cli.command import TINY
from tests.engine import joint

TORCHRUN = (
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
)  # fmt: skip
ROOT = Path(__file__).parents[2]
EPOCHS = 20  # short ones, each with a checkpoint


def start(*words: object, cwd: Path, launcher: tuple[str, ...] = TORCHRUN) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*launcher, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 180) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"The processes hang.\n{out}\n{err}") from None
    return process.returncode, out, err


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what two processes find."""
    path = tmp_path_factory.mktemp("joint") / "found.pt"
    code, _, err = finish(start("-m", "tests.engine.joint", path, cwd=ROOT))
    assert code == 0, err
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


@pytest.mark.parametrize(("key", "recipe"), [("gradients", "cid_tiny"), ("drawn", "dgcn_tiny")])
@pytest.mark.parametrize("crowd", joint.CROWDS)
def test_gradients_equal_those_of_the_joint_batch(
    together: dict[str, Any], crowd: str, key: str, recipe: str
) -> None:
    # "some": the first process has no people at all.
    alone = joint.gradients(joint.CROWDS[crowd], recipe)
    shared = together[key][crowd]
    assert alone.keys() == shared.keys()
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    assert largest > 0
    for name, gradient in alone.items():
        torch.testing.assert_close(shared[name], gradient, rtol=1e-9, atol=1e-9 * largest)


def test_an_evaluation_equals_that_of_one_process(together: dict[str, Any]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the others: sums depend on it in their last digits
    metrics, results = joint.evaluation()
    torch.set_num_threads(threads)
    assert len(results) > 0
    assert together["results"] == results
    assert together["metrics"] == metrics


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("images", [1, 6, 7, 13])
def test_processes_share_every_pass(world: int, images: int) -> None:
    parts = [
        list(MicroBatchSampler(range(images), 2, 0, 2, rank, world).batches())
        for rank in range(world)
    ]
    assert len({len(part) for part in parts}) == 1  # or some would wait for ever
    for passes in zip(*parts, strict=True):
        assert all(1 <= len(own) <= 2 for own in passes)
    for epoch in range(2):
        drawn = [i for part in parts for own in part for e, i in own if e == epoch]
        assert set(drawn) == set(range(images))
        assert len(drawn) < images + world


def losses(run: Path) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in entry.items() if k != "images_per_second"}
        for entry in read_log(run)
        if "loss" in entry
    ]


def train(root: Path, runs: Path, *more: object) -> tuple[object, ...]:
    return (
        "-m", "posebench", "train", "cid_tiny", "--dataset", "coco", "--data-root", root,
        *TINY, "--set", f"epochs={EPOCHS}", "--set", f"evaluate_every={EPOCHS}",
        "--runs", runs, *more,
    )  # fmt: skip


def test_a_run_that_loses_a_process_ends_and_continues(tmp_path: Path) -> None:
    write_coco(tmp_path, people=(1, 2, 1, 2))
    write_coco(tmp_path, people=(2, 1, 1), split="val")
    whole = tmp_path / "whole"
    code, out, err = finish(start(*train(tmp_path, whole), cwd=tmp_path))
    assert code == 0, err
    assert out.count("cid_tiny on coco val") == 1  # one process speaks
    [expected] = whole.glob("train/*")
    assert len(losses(expected)) == EPOCHS

    process = start(*train(tmp_path, tmp_path / "cut"), cwd=tmp_path)
    run = _wait_for_steps(tmp_path / "cut", process)
    [victim, *_] = _workers(process.pid)
    os.kill(victim, signal.SIGKILL)
    code, _, err = finish(process)
    assert code != 0
    assert f"--resume {run}" in err
    assert "lost the others" in err or "Stopped after step" in err
    assert len(losses(run)) < EPOCHS

    # The other way to start as many.
    words = train(tmp_path, tmp_path, "--resume", run, "--devices", 2)
    code, out, err = finish(start(*words, cwd=tmp_path, launcher=(sys.executable,)))
    assert code == 0, err
    assert out.count("cid_tiny on coco val") == 1
    assert losses(run) == losses(expected)
    assert json.loads((run / "metrics.json").read_text()) == json.loads(
        (expected / "metrics.json").read_text()
    )


def test_devices_hands_on_what_goes_wrong(tmp_path: Path) -> None:
    words = ("-m", "posebench", "eval", "nowhere", "--devices=2")
    code, out, err = finish(start(*words, cwd=tmp_path, launcher=(sys.executable,)))
    assert code == 4
    assert not out
    assert "rank 0: error:" in err
    assert "rank 1: error:" in err
    assert "Traceback" not in err
    _, _, err = finish(start(*words, "--debug", cwd=tmp_path, launcher=(sys.executable,)))
    assert "ModelError" in err


def test_devices_within_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="leave out --devices"):
        launch(2)
    launch(1)  # which is no wish


def test_devices_are_not_more_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="at most 2"):
        launch(3)


def _wait_for_steps(runs: Path, process: subprocess.Popen[str]) -> Path:
    """Return the run folder once it has a checkpoint."""
    for _ in range(600):
        for path in runs.glob("train/*/checkpoints/last.safetensors"):
            return path.parents[1]
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("No checkpoint after a minute.")


def _workers(parent: int) -> list[int]:
    """Return the processes that torchrun has started, by the number it gave them; last first."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if int(fields[1]) == parent:
            for entry in environment:
                if entry.startswith(b"RANK="):
                    found[int(entry[5:])] = int(path.name)
    return [found[number] for number in sorted(found, reverse=True)]
