"""`--limit` and `--batch-size`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from posebench.data.video import open_video
from posebench.engine import read_log
from tests.cli.command import TINY, only, run


def test_training_on_the_first_images_says_so(root: Path) -> None:
    result = run(
        "train", "cid_tiny", "--dataset", "coco", "--data-root", root, *TINY,
        "--set", "batch_size=1", "--set", "micro_batch_size=1", "--limit", "1",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert len([row for row in read_log(only(Path("runs"), "train/*")) if "loss" in row]) == 1
    assert "val[:1]" in result.out


def test_an_evaluation_of_the_first_images_is_not_that_of_all(trained: Path, root: Path) -> None:
    words = ("eval", trained, "--data-root", root, "--workers", "0")
    assert run(*words, "--limit", "1", "--runs", "some").code == 0
    with only(Path("some"), "eval/*/results.csv").open() as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"val[:1]"}
    result = run(*words, "--limit", "2")
    assert "on coco val: 2 images" in result.out


def test_a_result_file_is_scored_whole() -> None:
    result = run("eval", "--predictions", "x", "--dataset", "coco", "--limit", "5")
    assert result.code == 2
    assert "scored whole" in result.err


def test_images_share_a_pass(trained: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = posebench_predict()

    def counted(model: object, samples: list[object], *rest: object) -> object:
        sizes.append(len(samples))
        return original(model, samples, *rest)

    monkeypatch.setattr("posebench.models.PoseModel.predict", counted)
    for size in (1, 2):
        words = ("eval", trained, "--data-root", root, "--workers", "0")
        assert run(*words, "--batch-size", str(size), "--runs", f"by{size}").code == 0
    assert sizes == [1, 1, 2]


def posebench_predict() -> Any:
    from posebench.models import PoseModel

    return PoseModel.predict


def test_the_first_images_and_frames_are_drawn(
    trained: Path, root: Path, shared_data: Path
) -> None:
    images = only(root, "coco/val2017")
    result = run("viz", images, "--model", trained, "--out", "drawn", "--limit", "1")
    assert result.code == 0, result.err
    assert len(list(Path("drawn").iterdir())) == 1
    film = shared_data / "video" / "demo.mp4"
    result = run("viz", film, "--model", trained, "--out", "film.mp4", "--limit", "2")
    assert result.code == 0, result.err
    assert len(list(open_video("film.mp4"))) == 2
    assert "missing" not in result.err
