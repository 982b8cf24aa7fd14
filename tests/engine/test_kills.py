"""A run that is killed at random moments and resumed loses nothing."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from posebench.engine import read_log
from tests.builders import write_coco
from tests.cli.command import TINY

ROOT = Path(__file__).parents[2]


def losses(run: Path) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in entry.items() if k != "images_per_second"}
        for entry in read_log(run)
        if "loss" in entry
    ]


def start(root: Path, *more: object) -> subprocess.Popen[bytes]:
    words = ("train", "cid_tiny", "--dataset", "coco", "--data-root", root, *TINY, *more)
    return subprocess.Popen(
        [sys.executable, "-m", "posebench", *map(str, words)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_change_nothing(tmp_path: Path, kills: int) -> None:
    write_coco(tmp_path, people=(1, 2, 1))
    write_coco(tmp_path, people=(2, 1), split="val")
    # Short epochs, each with a checkpoint, and so many that the kills fall into the run.
    epochs = ("--set", f"epochs={4 + 6 * kills}", "--set", "evaluate_every=10")
    finish(start(tmp_path, *epochs, "--runs", tmp_path / "whole"))
    [whole] = (tmp_path / "whole").glob("train/*")

    random.seed(0)
    process = start(tmp_path, *epochs, "--runs", tmp_path / "cut")
    resumable = tmp_path / "cut"
    while not list(resumable.glob("train/*/checkpoints/last.safetensors")):
        assert process.poll() is None
        time.sleep(0.01)
    [run] = resumable.glob("train/*")
    killed = 0
    while killed < kills and process.poll() is None:
        # From the moment that it works again: most of a life goes into starting Python.
        known = len(read_log(run))
        while process.poll() is None and len(read_log(run)) <= known:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.communicate()
        killed += 1
        process = start(tmp_path, *epochs, "--resume", run)
    finish(process)
    assert killed == kills, "the run was over before all kills: make it longer"
    assert losses(run) == losses(whole)
    for name in ("metrics.json", "predictions.json"):
        assert json.loads((run / name).read_text()) == json.loads((whole / name).read_text())
    assert not list(run.rglob(".*")), "a part of a file was left"
