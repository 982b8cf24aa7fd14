"""Trainings that are shared, continued, locked and run in parallel."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from posebench.bench.ablation.analysis import analyse
from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.experiments import resolve
from posebench.bench.ablation.parallel import NullWatcher, run_tasks
from posebench.bench.ablation.tasks import (
    Task,
    list_tasks,
    load_result,
    result_folder,
    run_folder,
    run_task,
)
from posebench.engine import Interrupted, read_checkpoint, read_log
from posebench.engine.callbacks import Callback, NullCallback, StepReport
from posebench.engine.runs import lock_run
from posebench.errors import PosebenchError, UsageError
from tests.bench.ablation.conftest import SMALL


class Counting(NullWatcher, NullCallback):
    """Counts what was begun and ended."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.errors: list[str] = []
        self.steps = 0

    def on_task_start(self, task: Task) -> Callback:
        self.begun.append(task.name)
        return self

    def on_step(self, report: StepReport) -> None:
        self.steps += 1

    def on_eval_progress(self, done: int, total: int) -> None: ...
    def on_evaluation(self, *anything: Any) -> None: ...
    def on_unreadable(self, image: Any) -> None: ...

    def on_task_end(self, task: Task, error: str) -> None:
        self.errors.append(error)


def test_variants_that_differ_in_their_tests_share_a_training(
    config: StudyConfig, tmp_path: Path
) -> None:
    todo = list_tasks(config, tmp_path / "ablate", [0])
    assert [task.name for task in todo] == ["mirrored; once (seed 0)", "narrow (seed 0)"]
    counting = Counting()
    assert run_tasks(todo, watcher=counting) == {}
    assert counting.steps == 4  # two trainings of two epochs of one step
    assert len(list((tmp_path / "ablate" / "trainings").glob("*/done.json"))) == 2
    for experiment in resolve(config):
        assert load_result(tmp_path / "ablate", experiment, 0) is not None
    again = Counting()
    assert run_tasks(list_tasks(config, tmp_path / "ablate", [0]), watcher=again) == {}
    assert again.begun == []  # nothing is repeated
    more = Counting()
    run_tasks(list_tasks(config, tmp_path / "ablate", [0, 1])[:3], watcher=more)
    assert more.begun == ["mirrored; once (seed 1)"]


def test_the_test_of_a_variant_is_that_of_its_recipe(config: StudyConfig, tmp_path: Path) -> None:
    folder = tmp_path / "ablate"
    [first, _] = list_tasks(config, folder, [0])
    run_task(first)
    mirrored, once, _ = resolve(config)
    own, other = (result_folder(folder, one, 0) for one in (mirrored, once))
    assert other.parent.parent == own
    assert json.loads((other / "recipe.json").read_text())["inference"]["flip"] is False
    assert json.loads((own / "recipe.json").read_text())["inference"]["flip"] is True
    assert (own / "predictions.json").read_text() != (other / "predictions.json").read_text()
    # A schedule of its own makes a row of the papers' tables; settings of a test do not.
    assert (own / "results.csv").is_file()
    assert not (other / "results.csv").exists()
    rows = analyse(config, folder, [0]).rows
    origin = rows.groupby("variant").first().to_dict("index")
    assert set(origin) == {"mirrored", "once"}
    weights = hashlib.sha256((own / "checkpoints" / "last.safetensors").read_bytes()).hexdigest()
    assert origin["once"]["weights_sha256"] == weights
    assert origin["mirrored"]["recipe_hash"] != origin["once"]["recipe_hash"]
    assert origin["mirrored"]["data_hash"] == origin["once"]["data_hash"] != ""
    assert origin["once"]["seeds"] == "training 0"
    # Tests of earlier versions do not say.
    for done in folder.rglob("done.json"):
        done.write_text(json.dumps({"seconds": 1.0}))
    old = analyse(config, folder, [0]).rows
    assert set(old["weights_sha256"]) == {""}
    assert list(old["value"].dropna()) == list(rows["value"].dropna())


def test_ctrl_c_during_a_last_evaluation_stops_the_study(
    config: StudyConfig, tmp_path: Path
) -> None:
    class Stopping(Counting):
        def on_eval_progress(self, done: int, total: int) -> None:
            if done == 1:
                os.kill(os.getpid(), signal.SIGINT)

    todo, watcher = list_tasks(config, tmp_path, [0]), Stopping()
    assert len(todo) == 2
    with pytest.raises(Interrupted):
        run_tasks(todo, watcher=watcher)
    assert watcher.begun == [todo[0].name]


class StopAt(NullCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, report: StepReport) -> None:
        if report.step == self.step:
            raise KeyboardInterrupt  # as hard as a kill: nothing is saved on the way out


def test_a_killed_training_continues_and_ends_as_if_nothing_had_been(
    config: StudyConfig, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    [task, _] = list_tasks(config, whole, [0])
    run_task(task)
    [again, _] = list_tasks(config, cut, [0])
    for step in (1, 2):  # before the first checkpoint, and after it
        with pytest.raises(KeyboardInterrupt):
            run_task(again, StopAt(step))
    training = again.experiments[0].training
    assert training is not None
    run = run_folder(cut, training, 0)
    assert (run / "checkpoints" / "last.safetensors").is_file()
    assert not (run / "done.json").exists()
    run_task(again)
    assert json.loads((run / "done.json").read_text())["resumed"] is True
    assert [entry["step"] for entry in read_log(run) if "loss" in entry] == [1, 2]
    first, second = (
        read_checkpoint(run_folder(folder, training, 0)).weights for folder in (whole, cut)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_claimed_training_is_left_to_its_process(
    config: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ablate"
    todo = list_tasks(config, folder, [0])
    training = todo[0].experiments[0].training
    assert training is not None
    claim = lock_run(run_folder(folder, training, 0) / "claim")
    claim.__enter__()

    def released(seconds: float) -> None:
        claim.__exit__(None, None, None)

    monkeypatch.setattr("posebench.bench.ablation.parallel.time.sleep", released)
    counting = Counting()
    assert run_tasks(todo, watcher=counting) == {}
    # The other one comes first, and then the one that has become free.
    assert counting.begun[:2] == ["mirrored; once (seed 0)", "narrow (seed 0)"]
    assert counting.begun[-1] == "mirrored; once (seed 0)"
    assert all(task.done for task in todo)


def test_a_training_that_fails_leaves_the_others(config: StudyConfig, tmp_path: Path) -> None:
    bad = replace(config, settings=(*SMALL, "lr=1e30", "clip_norm=0.0", "warmup_steps=0"), epochs=4)
    counting = Counting()
    failed = run_tasks(list_tasks(bad, tmp_path / "ablate", [0]), watcher=counting)
    assert len(failed) == 2
    assert all("not finite" in why for why in failed.values())
    assert len(counting.errors) == 2


def test_an_interrupted_study_says_that_it_continues(config: StudyConfig, tmp_path: Path) -> None:
    class Stopping(Counting):
        def on_step(self, report: StepReport) -> None:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted, match="repeat the command"):
        run_tasks(list_tasks(config, tmp_path / "ablate", [0]), watcher=Stopping())


def test_processes_do_what_one_does(config: StudyConfig, tmp_path: Path) -> None:
    real = replace(config, study="cid/embedding", epochs=1)  # a worker knows the papers' studies
    lost = replace(real, data_root=str(tmp_path / "nowhere"))
    here, there = tmp_path / "here", tmp_path / "there"
    good, bad = (list_tasks(own, there, [0], threads=1)[0] for own in (real, lost))
    counting = Counting()
    failed = run_tasks([good, bad], jobs=2, watcher=counting)
    assert list(failed) == [bad]
    assert "is not there" in failed[bad]
    assert sorted(counting.errors) == ["", failed[bad]]
    run_tasks(list_tasks(real, here, [0])[:1])
    experiment = resolve(real)[0]
    assert load_result(here, experiment, 0) == load_result(there, experiment, 0)


def test_ray_is_asked_for_where_it_is_missing(
    config: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'posebench\[ray\]'"):
        run_tasks(list_tasks(config, tmp_path / "ablate", [0]), address="auto")


def test_a_cluster_does_the_tasks(
    config: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own calls, done at once in this process."""
    calls: list[Any] = []

    def remote(**needs: Any) -> Any:
        calls.append(needs)

        def wrap(function: Any) -> Any:
            def begin(task: Task) -> Any:
                try:
                    return ("value", function(task), len(calls), task.name)
                except PosebenchError as error:
                    return ("error", error, len(calls), task.name)

            return types.SimpleNamespace(remote=begin)

        return wrap

    def get(reference: Any) -> Any:
        if reference[0] == "error":
            raise RuntimeError("as Ray wraps it") from reference[1]

    ray = types.SimpleNamespace(
        init=lambda address: calls.append(address), remote=remote, get=get,
        wait=lambda waiting: (waiting[:1], waiting[1:]), shutdown=lambda: calls.append("down"),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", ray)
    todo = list_tasks(config, tmp_path / "ablate", [0], threads=3)
    counting = Counting()
    assert run_tasks(todo, address="head:6379", watcher=counting) == {}
    assert calls == ["head:6379", {"num_cpus": 3}, "down"]
    assert counting.errors == ["", ""]
    assert all(task.done for task in todo)
