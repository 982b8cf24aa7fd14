"""Annotations that were read before: the same arrays, shared, and never those of another file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posebench.data.annotations import kept, read_annotations
from posebench.data.annotations.options import ReadOptions
from posebench.errors import Notice
from posebench.files import cache_folder
from posebench.ground_truth import ARRAYS, GroundTruth, Texts
from tests.builders import PROTOCOLS, write_coco

PROTOCOL = PROTOCOLS["coco"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small file that is kept like a large one, in a cache of its own."""
    monkeypatch.setattr(kept, "_SMALLEST_FILE", 1)
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path / "cache"))
    return write_coco(tmp_path, people=(2, 0, 1))


def change(path: Path, **fields: Any) -> None:
    content = json.loads(path.read_text())
    content["annotations"][0] |= fields
    path.write_text(json.dumps(content))


def entries() -> list[Path]:
    return list((cache_folder() / "annotations").iterdir())


def assert_equal(one: GroundTruth, other: GroundTruth) -> None:
    assert (one.skeleton, one.categories) == (other.skeleton, other.categories)
    for name in ARRAYS:
        first, second = getattr(one, name), getattr(other, name)
        if isinstance(first, np.ndarray):
            assert first.dtype == second.dtype
            np.testing.assert_array_equal(first, second)
        else:
            assert first == second, name


def test_a_second_opening_gives_the_same_from_files(path: Path) -> None:
    first = read_annotations(path, PROTOCOL)
    assert len(entries()) == 1
    second = read_annotations(path, PROTOCOL)
    assert_equal(first, second)
    assert first.digest() == second.digest()
    assert not second.keypoints.flags.writeable  # of the mapped file
    assert isinstance(second.file_names, Texts)


def test_it_is_found_by_content_and_not_by_place(path: Path, tmp_path: Path) -> None:
    read_annotations(path, PROTOCOL)
    moved = path.rename(path.with_name("person_keypoints_val2017.json"))
    moved.rename(path)
    read_annotations(path, PROTOCOL)
    assert len(entries()) == 1
    before = read_annotations(path, PROTOCOL).boxes.tolist()
    change(path, bbox=[1, 2, 3, 4])
    assert read_annotations(path, PROTOCOL).boxes[0].tolist() == [1, 2, 3, 4]
    assert len(entries()) == 2
    assert before[0] != [1, 2, 3, 4]


def test_other_options_are_read_anew(path: Path) -> None:
    annotated = read_annotations(path, PROTOCOL)
    shared = read_annotations(path, PROTOCOL, ReadOptions(area=0.5))
    assert shared.area.tolist() == (annotated.boxes[:, 2:].prod(1) * 0.5).tolist()
    assert len(entries()) == 2


def test_what_was_derived_is_said_every_time(path: Path) -> None:
    change(path, area=0)
    for _ in range(2):
        with pytest.warns(Notice, match="1 labelled annotations have no area"):
            read_annotations(path, PROTOCOL)


@pytest.mark.parametrize("damage", ["cut", "gone", "text"])
def test_damaged_files_are_replaced(path: Path, damage: str) -> None:
    first = read_annotations(path, PROTOCOL)
    [folder] = entries()
    file = folder / "keypoints.npy"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "gone":
        file.unlink()
    else:
        (folder / "facts.json").write_text("{")
    assert_equal(read_annotations(path, PROTOCOL), first)
    assert_equal(read_annotations(path, PROTOCOL), first)


def test_a_cache_that_cannot_be_written_costs_only_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("POSEBENCH_CACHE", str(blocked))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_annotations(path, PROTOCOL)) == 3


def test_the_oldest_go_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_LARGEST_NUMBER", 2)
    for side in (5, 6, 7, 8):
        change(path, bbox=[1, 2, side, side])
        read_annotations(path, PROTOCOL)
    assert len(entries()) == 2


def test_small_files_are_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("POSEBENCH_CACHE", str(path.parent / "cache"))
    read_annotations(path, PROTOCOL)
    assert not (cache_folder() / "annotations").exists()
