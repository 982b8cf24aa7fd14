"""AI Challenger's lists of images: corners, flags, and people who lack one or the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from posebench.data import open_dataset
from posebench.data.aic import read_aic
from posebench.data.formats import format_of
from posebench.errors import DataError
from posebench.skeleton import named_skeletons

# The first keypoint is visible, the second hidden, the third absent.
KEYPOINTS = [10, 20, 1, 11, 21, 2, 0, 0, 3, *(v for k in range(3, 14) for v in (10 + k, 20, 1))]


def entry(name: str = "a1", **fields: Any) -> dict[str, Any]:
    return {
        "image_id": name,
        "human_annotations": {"human1": [5, 6, 25, 46]},
        "keypoint_annotations": {"human1": KEYPOINTS},
        **fields,
    }


def write(path: Path, entries: Any, *, images: bool = True) -> Path:
    """Write a file, and its images into the folder that the official download has beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))
    folder = path.parent / path.stem.replace("annotations", "images")
    if images:
        folder.mkdir(exist_ok=True)
        for one in entries:
            cv2.imwrite(str(folder / f"{one['image_id']}.jpg"), np.zeros((60, 40, 3), np.uint8))
    return path


@pytest.mark.filterwarnings("ignore::posebench.errors.Notice")
def test_corners_and_flags_become_cocos(tmp_path: Path) -> None:
    path = write(tmp_path / "keypoint_train_annotations_20170902.json", [entry("b2"), entry("a1")])
    dataset = open_dataset(str(path), "all")
    assert dataset.skeleton is named_skeletons()["aic"]
    samples = [dataset.load(index) for index in range(2)]
    assert [(one.image_id, one.name) for one in samples] == [(1, "b2.jpg"), (2, "a1.jpg")]
    poses = samples[0].poses
    assert poses.boxes[0, [0, 3]].tolist() == [[5, 6], [25, 46]]
    assert poses.visibility[0].tolist() == [2, 1, 0] + [2] * 11
    assert poses.keypoints[0, :3].tolist() == [[10, 20], [11, 21], [0, 0]]
    assert poses.area.tolist() == pytest.approx([0.53 * 20 * 40])


def test_people_without_a_box_or_keypoints_are_kept(tmp_path: Path) -> None:
    people = entry(
        human_annotations={"human1": [5, 6, 25, 46], "human2": [0, 0, 9, 9]},
        keypoint_annotations={"human1": KEYPOINTS, "human3": KEYPOINTS},
    )
    content = read_aic(write(tmp_path / "people.json", [people]))
    records = [msgspec.json.decode(one) for one in content.annotations]
    rows = [(len(one["keypoints"]), one.get("bbox")) for one in records]
    assert rows == [(42, [5, 6, 20, 40]), (0, [0, 0, 9, 9]), (42, None)]


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posebench.data.annotations.kept._SMALLEST_FILE", 1)
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "keypoint_train_annotations_20170902.json", [entry("b2"), entry("a1")])
    first = open_dataset(str(path), "all").ground_truth()
    parses: list[Any] = []
    monkeypatch.setattr("posebench.data.aic.parse_json", parses.append)
    again = open_dataset(str(path), "all").ground_truth()
    assert again.to_coco() == first.to_coco()
    assert not parses


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 7}, r"image_id, human_annotations and keypoint_annotations in image 1"),
        ({"human_annotations": {"human1": [1, 2, 3]}}, r"4 numbers in human_annotations.*human1"),
        ({"keypoint_annotations": {"human1": [1] * 51}}, r"42 numbers in .*human1 in image 1"),
        ({"keypoint_annotations": {"human1": [1, 2, 4] * 14}}, r"3 \(absent\).*found 4"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "people.json", [entry(**change)], images=False)
    with pytest.raises(DataError, match=message):
        read_aic(path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", json.dumps([entry()]), "aic"),
        ("a.json", "\ufeff" + json.dumps([{"image": "1.jpg", "joints_vis": []}]), "mpii"),
        ("a.mat", "", "mpii"),
        ("a.json", '{"info": 1, "annotations": [], "images": []}', "coco"),
        ("a.json", '[{"image_id": 1, "keypoints": []}]', None),
        ("a.json", "", None),
    ],
)
def test_formats_are_recognised(
    tmp_path: Path, name: str, content: str, expected: str | None
) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert format_of(path) == expected
    assert format_of(tmp_path / "none.json") is None
