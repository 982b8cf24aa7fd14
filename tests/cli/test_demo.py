"""`posebench demo`: what it prints and writes, with models that need no process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from posebench.bench.demo import PICTURES, demo_images
from posebench.cli.common import out
from tests.bench.demo_fakes import FAILURE, FakeModel
from tests.cli.command import only, run

IMAGES = 4
Calls = list[tuple[str, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Replace the processes of two models, and return what they are asked."""
    return install(monkeypatch, None)


def install(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> Calls:
    calls: Calls = []
    monkeypatch.setattr(
        "posebench.bench.demo.Worker",
        lambda make, job: FakeModel(job, demo_images(IMAGES), calls, error),
    )
    monkeypatch.setattr("posebench.shipped.shipped_names", lambda: ("cid_tiny", "posedet_tiny"))
    return calls


def compare(*words: str) -> Any:
    return run("demo", "--images", str(IMAGES), "--device", "cpu", *words)


def test_it_prints_one_table_and_writes_the_report(calls: Calls) -> None:
    result = compare()
    assert result.code == 0, result.err
    header, _, first, second = result.out.splitlines()[:4]
    assert header.split() == [
        "model", "AP", "95", "%", "alike", "ms", "FPS", "M", "par.", "GMACs", "MB",
    ]  # fmt: skip
    assert first.split()[:2] == ["cid_tiny", "100.0"]
    assert second.split()[:2] == ["posedet_tiny", "0.0"]
    assert "share a letter" in result.out and "1 pair)" in result.out
    assert "4 synthetic images (seed 0)" in result.out
    assert result.err.splitlines()[-1] == "posebench viz image.jpg --model cid_tiny"
    folder = only(Path("runs"), "demo/comparison_synthetic_*")
    page = (folder / "report.html").read_text()
    assert page.count("data:image/jpeg") == PICTURES and page.count("data:image/png") == 1
    assert "http" not in page
    assert (folder / "comparison.png").is_file() and (folder / "crowd.png").is_file()
    rows = pd.read_csv(folder / "comparison.csv")
    assert list(rows["model"]) == ["cid_tiny", "posedet_tiny"]
    assert list(rows["ms"]) == pytest.approx([10, 40])


def test_json_has_a_row_for_each_model(calls: Calls) -> None:
    result = compare("--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["rows"]
    assert [row["model"] for row in rows] == ["cid_tiny", "posedet_tiny"]
    assert [row["peak_MB"] for row in rows] == [12, 34]
    assert all(row["images"] == IMAGES for row in rows)


@pytest.mark.parametrize("width", [80, 60])
def test_names_do_not_wrap_on_narrow_terminals(
    calls: Calls, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "_width", width)
    lines = compare().out.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[2].startswith("cid_tiny ") and lines[3].startswith("posedet_tiny ")


def test_a_terminal_that_is_too_narrow_says_what_is_left_out(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "_width", 47)
    text = " ".join(compare().out.split())
    assert "Not shown at this width: FPS, M par., GMACs, MB." in text


def test_a_failing_model_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = install(monkeypatch, FAILURE)
    result = compare()
    assert result.code == 4
    assert "posedet_tiny failed" in result.err and "out of memory" in result.err
    assert ("cid_tiny", "close") in calls


def test_stopping_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = install(monkeypatch, KeyboardInterrupt())
    result = compare()
    assert result.code == 130
    assert "error" not in result.err
    assert f"posebench demo --images {IMAGES} --device cpu" in result.err
    assert ("cid_tiny", "close") in calls and ("posedet_tiny", "close") in calls


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--epochs", "2"), "posebench demo --train --epochs 2"),
        (("--workers", "0"), "--train"),
        (("--train", "--images", "4"), "--images belongs to the comparison"),
        (("--train", "--json"), "--json belongs to the comparison"),
    ],
)
def test_options_of_the_other_demo_are_refused(words: tuple[str, ...], sentence: str) -> None:
    result = run("demo", *words)
    assert result.code == 2
    assert sentence in " ".join(result.err.split())


def test_train_trains_cid_tiny_for_three_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def train(recipe: str, dataset: str, **options: Any) -> None:
        asked.update(options, recipe=recipe, dataset=dataset)
        raise KeyboardInterrupt

    monkeypatch.setattr("posebench.train", train)
    assert run("demo", "--train", "--device", "cpu", "--seed", "5").code == 130
    assert (asked["recipe"], asked["dataset"]) == ("cid_tiny", "synthetic")
    assert (asked["epochs"], asked["evaluate_every"], asked["seed"]) == (3, 1, 5)
