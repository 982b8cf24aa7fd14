"""`--precision auto`, and the warning where bf16 is slow; the CPU's features are supposed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from posebench.bench.speed import SpeedOptions
from posebench.errors import PosebenchError
from tests.cli.command import TINY, only, run

WARNING = "warning: this CPU has no bf16 instructions"
FLAGS = {"x86": {"flags": "sse avx2 avx512_bf16"}, "arm": {"Features": "fp asimd bf16"}}


def suppose(monkeypatch: pytest.MonkeyPatch, **fields: str) -> None:
    """Let the CPU describe itself by these fields."""
    monkeypatch.setattr("posebench.engine.devices.cpu_info", lambda name: fields.get(name, ""))


def precisions(folder: Path) -> set[str]:
    with (folder / "results.csv").open(newline="") as file:
        return {row["precision"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    "words",
    [
        ("train", "cid_tiny", "--dataset", "coco"),
        ("ablate", "cid/recalibration", "--dataset", "coco", "--epochs", "1"),
        ("eval", "RUN"),
    ],
)
def test_bf16_without_instructions_is_warned_of_once(
    words: tuple[str, ...], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppose(monkeypatch, flags="sse avx2")
    words = tuple(str(trained) if word == "RUN" else word for word in words)
    where = ("--data-root", "nowhere", "--device", "cpu")
    slow = run(*words, *where, "--precision", "bf16")
    assert slow.code == 3  # there is no data
    assert slow.err.count(WARNING) == 1
    assert WARNING not in run(*words, *where, "--precision", "auto").err
    suppose(monkeypatch, **FLAGS["x86"])
    assert WARNING not in run(*words, *where, "--precision", "bf16").err


def test_speed_warns_of_bf16_and_chooses_by_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []

    def stop(recipes: object, options: SpeedOptions, *others: object, **named: object) -> None:
        chosen.append(options.precision)
        raise PosebenchError("enough")

    monkeypatch.setattr("posebench.bench.speed.run_speed_benchmark", stop)
    words = ("speed", "--models", "cid_tiny", "--device", "cpu", "--precision")
    suppose(monkeypatch, flags="sse avx2")
    assert run(*words, "bf16").err.count(WARNING) == 1
    assert WARNING not in run(*words, "auto").err
    suppose(monkeypatch, **FLAGS["arm"])
    assert WARNING not in run(*words, "auto").err
    assert chosen == ["bf16", "fp32", "bf16"]


@pytest.mark.parametrize(
    ("fields", "precision"), [({"flags": "avx2"}, "fp32"), (FLAGS["x86"], "bf16")]
)
def test_auto_trains_in_what_the_cpu_computes_in(
    fields: dict[str, str], precision: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppose(monkeypatch, **fields)
    result = run(
        "train", "cid_tiny", "--dataset", "coco", "--data-root", root, *TINY, "--precision", "auto"
    )
    assert result.code == 0, result.err
    assert precisions(only(Path("runs"), "train/*")) == {precision}


def test_auto_evaluates_in_fp32(trained: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suppose(monkeypatch, **FLAGS["x86"])
    result = run("eval", trained, "--data-root", root, "--workers", "0", "--precision", "auto")
    assert result.code == 0, result.err
    assert precisions(only(Path("runs"), "eval/*")) == {"fp32"}


@pytest.mark.parametrize("command", ["train cid_tiny --dataset synthetic", "eval cid_tiny"])
def test_an_unknown_precision_is_a_usage_error(command: str) -> None:
    result = run(*command.split(), "--precision", "half")
    assert result.code == 2
    assert "auto, bf16, fp32" in result.err
