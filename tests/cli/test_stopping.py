"""Ctrl-C: a plain message, the whole command that goes on, exit code 130."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posebench.bench import speed as speed_benchmark
from posebench.cli import stopping
from posebench.cli.train_progress import TrainProgress
from posebench.errors import Interrupted
from tests.cli.command import TINY, Result, only, run

# Two epochs of one step.
TRAIN = ("train", "cid_tiny", "--dataset", "coco", *TINY, "--set", "epochs=2")


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Hear SIGINT, which a shell lets the commands in its background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stop(*arguments: object, **options: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def stop_twice(*arguments: object, **options: object) -> None:
    stop()
    stop()


def command_of(result: Result) -> list[str]:
    """Return the words of the command on the last line, which must stand alone on it."""
    line = result.err.splitlines()[-1]
    assert line.startswith("  posebench ")
    return shlex.split(line)[1:]


def assert_stopped(result: Result, *said: str) -> None:
    assert result.code == 130
    assert result.out == ""
    assert "error" not in result.err and "Traceback" not in result.err
    for text in said:
        assert text in result.err


def test_a_stopped_training_says_how_it_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "with a space and [brackets]" / ("long" * 30)
    monkeypatch.setattr(TrainProgress, "on_step", stop)
    result = run(*TRAIN, "--data-root", root, "--runs", runs)
    assert_stopped(result, "Stopping after this step", "Stopped after step 1 of 2. Continue with:")
    assert command_of(result) == ["train", "--resume", str(only(runs, "train/*"))]


def test_a_second_ctrl_c_stops_at_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainProgress, "on_step", stop_twice)
    result = run(*TRAIN, "--data-root", root)
    assert_stopped(result, "Stopped. Start again with:")  # nothing had been saved
    assert command_of(result) == [*TRAIN, "--data-root", str(root)]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)

    evaluate_first = (*TRAIN, "--set", "evaluate_every=1", "--data-root", root, "--runs", "other")
    monkeypatch.setattr(TrainProgress, "on_eval_progress", stop_twice)
    result = run(*evaluate_first)
    assert_stopped(result, "Stopped at once; the run continues from its last checkpoint.")
    assert command_of(result) == ["train", "--resume", str(only(Path("other"), "train/*"))]


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("eval", "cid_tiny", "--oracle"), "posebench.engine.evaluate_ideal"),
        (("data", "list", "--json"), "posebench.cli.data.print_rows"),
    ],
)
def test_a_command_that_keeps_nothing_starts_again(
    words: tuple[str, ...], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, stop)
    words += ("--dataset", "synthetic") if "eval" in words else ()
    result = run(*words)
    assert_stopped(result, "Stopped. Start again with:")
    assert command_of(result) == list(words)


def test_a_stopped_benchmark_is_resumed_with_the_same_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(speed_benchmark, "run_speed_benchmark", stop)
    words = ("speed", "--models", "cid_tiny", "--device", "cpu")
    result = run(*words)
    assert_stopped(result, "what has been timed is kept. Continue with:")
    again = [*words, "--resume", str(only(Path("runs"), "speed/*"))]
    assert command_of(result) == again
    assert command_of(run(*again)) == again


@pytest.mark.parametrize("how", [KeyboardInterrupt(), Interrupted("Stopped after step 1 of 2.")])
def test_a_stopped_study_is_repeated(how: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise how

    monkeypatch.setattr("posebench.bench.ablation.run_study", stopped)
    words = ("ablate", "cid/recalibration", "--device", "cpu", "--budget", "1m")
    result = run(*words)
    assert_stopped(result, "finished trainings and tests are kept", "Continue with:")
    assert command_of(result) == list(words)


def test_the_command_is_called_as_the_user_called_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(first: str, python: str = sys.executable) -> str:
        monkeypatch.setattr(sys, "argv", [first, "eval", "a b"])
        monkeypatch.setattr(sys, "executable", python)
        stopping.say_stopped(Interrupted("Stopped."))
        return capsys.readouterr().err.splitlines()[-1].strip()

    for name in ("posebench", "python"):
        program = tmp_path / name
        program.write_text("")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    here, module = str(tmp_path / "posebench"), "/somewhere/posebench/__main__.py"
    assert said(here) == "posebench eval 'a b'"
    assert said(".venv/bin/posebench") == ".venv/bin/posebench eval 'a b'"
    assert said(module, str(tmp_path / "python")) == "python -m posebench eval 'a b'"
    assert said(module, "/venv/bin/python") == "/venv/bin/python -m posebench eval 'a b'"


def test_processes_name_the_command_that_started_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ})
    monkeypatch.setattr(sys, "argv", ["posebench", "eval", "run", "--devices", "2"])
    stopping.remember_command()
    monkeypatch.setattr(sys, "argv", ["/x/posebench/__main__.py", "eval", "run"])
    stopping.say_stopped(Interrupted("Stopped."))
    assert capsys.readouterr().err.endswith("  posebench eval run --devices 2\n")


def test_an_error_is_still_an_error() -> None:
    result = run("eval", "nowhere")
    assert result.code == 4
    assert result.err.startswith("error: ")


def test_the_exception_names_the_command_too() -> None:
    stopped = Interrupted("Stopped after step 1 of 2.", command=("train", "--resume", "a b"))
    assert str(stopped).endswith("of 2. Continue with: posebench train --resume 'a b'")
