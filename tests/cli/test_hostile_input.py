"""Input that nobody means to give: it is worked on or told in a sentence, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from posebench.engine import read_checkpoint, read_log
from posebench.engine.runs import lock_run
from tests.builders import coco_annotations, make_sample
from tests.cli.command import TINY, only, run

CPU = ("--workers", "0", "--device", "cpu")


def write_dataset(root: Path, people: list[dict[str, Any]], image: np.ndarray) -> None:
    """Write one picture as COCO's train and val."""
    height, width = image.shape[:2]
    for split in ("train", "val"):
        folder = root / "coco" / f"{split}2017"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "1.png"), image)
        content = {
            "images": [{"id": 1, "file_name": "1.png", "width": width, "height": height}],
            "annotations": people,
            "categories": [{"id": 1}],
        }
        path = root / "coco" / "annotations" / f"person_keypoints_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))


def train_and_evaluate(root: Path) -> dict[str, float]:
    """Train on what was written and return the metrics of the run."""
    words = ("--dataset", "coco", "--data-root", root)
    result = run("train", "cid_tiny", *words, *TINY)
    assert result.code == 0, result.err
    folder = only(Path("runs"), "train/*")
    assert all(np.isfinite(entry["loss"]) for entry in read_log(folder) if "loss" in entry)
    assert run("eval", folder, *words, *CPU).code == 0
    assert run("eval", "cid", "--oracle", *words).code == 0
    metrics: dict[str, float] = json.loads((folder / "metrics.json").read_text())
    return metrics


def test_a_box_of_zero_area_trains_and_evaluates(tmp_path: Path) -> None:
    sample = make_sample(2)
    people = coco_annotations(sample, first_id=1, image_id=1)
    people[0] |= {"bbox": [30, 40, 0, 0], "area": 0.0}
    metrics = train_and_evaluate_on(tmp_path, people, sample.image)
    assert 0 <= metrics["AP"] <= 1


def test_two_hundred_people_train_and_evaluate(tmp_path: Path) -> None:
    sample = make_sample(200, size=256)
    people = coco_annotations(sample, first_id=1, image_id=1)
    metrics = train_and_evaluate_on(tmp_path, people, sample.image)
    assert 0 <= metrics["AP"] <= 1


def train_and_evaluate_on(
    root: Path, people: list[dict[str, Any]], image: np.ndarray
) -> dict[str, float]:
    write_dataset(root, people, image)
    return train_and_evaluate(root)


@pytest.mark.parametrize("size", [(1, 1), (12_000, 9_000)])
def test_pictures_of_any_size_are_drawn_on(
    trained: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("RGB", size, (90, 120, 60)).save(tmp_path / "x.png")
    result = run("viz", tmp_path / "x.png", "--model", trained, "--out", "drawn", "--device", "cpu")
    assert result.code == 0, result.err
    assert Image.open("drawn/x.png").size == size


def test_a_picture_of_one_pixel_trains_and_evaluates(tmp_path: Path) -> None:
    [person] = coco_annotations(make_sample(1), first_id=1, image_id=1)
    person |= {"keypoints": [0, 0, 2] * 17, "bbox": [0, 0, 1, 1], "area": 1.0}
    train_and_evaluate_on(tmp_path, [person], np.zeros((1, 1, 3), np.uint8))


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a disk that is full by then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


TRAIN = ("train", "cid_tiny", "--dataset", "coco", *TINY)


def test_a_disk_that_fills_up_during_a_checkpoint_loses_nothing(root: Path, tmp_path: Path) -> None:
    data = ("--data-root", root)
    assert run(*TRAIN, *data).code == 0
    folder = only(Path("runs"), "train/*")
    before = read_checkpoint(folder / "checkpoints" / "last.safetensors")
    files = sorted(path.name for path in (folder / "checkpoints").iterdir())
    # Another epoch is the same run with more to do, as far as its checkpoint knows.
    longer = [word.replace("epochs=1", "epochs=2") for word in TRAIN]
    saved = json.loads((folder / "recipe.json").read_text())
    assert saved["epochs"] == 1
    other = tmp_path / "other"
    with full_after(100_000):
        result = run(*longer, *data, "--runs", other)
    message = fails_at_end(result.err)
    assert os.strerror(errno.EFBIG) in message
    assert "free some space" in message
    assert not list(other.rglob(".*")), "a part of a file was left"
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == files
    after = read_checkpoint(folder / "checkpoints" / "last.safetensors")
    assert all(before.weights[name].equal(after.weights[name]) for name in before.weights)


def fails_at_end(text: str) -> str:
    last = text.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "Traceback" not in text
    return last


def test_a_run_in_use_is_not_trained_by_another(trained: Path, root: Path) -> None:
    with lock_run(trained):
        result = run(*TRAIN, "--data-root", root, "--resume", trained)
    assert "Another process is training" in fails_at_end(result.err)
    assert run(*TRAIN, "--data-root", root, "--resume", trained).code == 0


@contextmanager
def unprivileged() -> Iterator[None]:
    """Do without the right to write everywhere, which tests often have in containers."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_run_folder_that_is_read_only_is_told_and_kept(root: Path, tmp_path: Path) -> None:
    assert run(*TRAIN, "--data-root", root, "--runs", tmp_path / "runs").code == 0
    folder = only(tmp_path / "runs", "train/*")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    closed = [folder, folder / "checkpoints"]
    parents = [*folder.parents][: len(folder.parts) - 2]
    modes = {path: path.stat().st_mode for path in (*closed, *parents, *root.rglob("*"), root)}
    try:
        for path in modes:
            path.chmod(modes[path] | 0o055)
        for path in closed:
            path.chmod(0o555)
        with unprivileged():
            result = run(*TRAIN, "--data-root", root, "--resume", folder)
            assert "cannot be written" in fails_at_end(result.err)
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_odd_names_go_through_everything(root: Path, tmp_path: Path) -> None:
    odd = tmp_path / "läuft – 実行 [1]"
    odd.mkdir()
    (odd / "data").symlink_to(root)
    data = ("--data-root", odd / "data")
    assert run(*TRAIN, *data, "--runs", odd / "runs").code == 0
    folder = only(odd / "runs", "train/*")
    assert run("eval", folder, "--dataset", "coco", *data, *CPU, "--runs", odd / "runs").code == 0
    picture = odd / "ein Bild.png"
    Image.new("RGB", (64, 64)).save(picture)
    drawn = run("viz", picture, "--model", folder, "--out", odd / "drawn", "--device", "cpu")
    assert drawn.code == 0, drawn.err
    assert (odd / "drawn" / "ein Bild.png").is_file()
