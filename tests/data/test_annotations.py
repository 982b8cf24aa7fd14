from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posebench.data.annotations import read_annotations
from posebench.errors import DataError
from tests.builders import PROTOCOLS


def annotation(**fields: Any) -> dict[str, Any]:
    keypoints = [10.0, 20.0, 2] * 3 + [0, 0, 0] * 14
    return {
        "id": 7, "image_id": 139, "category_id": 1, "keypoints": keypoints, "num_keypoints": 3,
        "bbox": [1.0, 2.0, 30.0, 40.0], "area": 600.5, "iscrowd": 0, **fields,
    }  # fmt: skip


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in annotation().items() if name != field}


def write(folder: Path, *annotations: Any, **fields: Any) -> Path:
    content = {
        "images": [{"id": 139, "file_name": "a.jpg"}], "annotations": list(annotations), **fields,
    }  # fmt: skip
    path = folder / "person_keypoints.json"
    path.write_text(json.dumps(content))
    return path


def test_the_content_is_returned_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, annotation(), annotation(id=8, iscrowd=1), info={"year": 2017})
    assert read_annotations(path, PROTOCOLS["coco"]) == json.loads(path.read_text())


def test_num_keypoints_are_counted_where_missing(tmp_path: Path) -> None:
    path = write(tmp_path, without("num_keypoints"), annotation(num_keypoints=1))
    counts = [a["num_keypoints"] for a in read_annotations(path, PROTOCOLS["coco"])["annotations"]]
    assert counts == [3, 1]


def test_crowdpose_needs_no_area_and_counts_no_head(tmp_path: Path) -> None:
    person = without("area") | {"keypoints": [0, 0, 0] * 11 + [5, 5, 1] * 3}
    del person["num_keypoints"]
    read = read_annotations(write(tmp_path, person), PROTOCOLS["crowdpose"])
    assert read["annotations"][0]["num_keypoints"] == 1
    assert "area" not in read["annotations"][0]


def test_no_annotations_are_allowed_but_no_images_are_not(tmp_path: Path) -> None:
    assert read_annotations(write(tmp_path), PROTOCOLS["coco"])["annotations"] == []
    with pytest.raises(DataError, match="Expected images"):
        read_annotations(write(tmp_path, images=[]), PROTOCOLS["coco"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("text", "list of objects"),
        (annotation(keypoints=[1.0] * 42), r"17 keypoints.*annotation 7 .*found 14"),
        (annotation(keypoints=[1.0] * 50), r"17 keypoints.*annotation 7 .*found 16.6667"),
        (annotation(keypoints=[float("nan")] * 51), r"annotation 7 \(image 139, a.jpg\).*nan"),
        (annotation(keypoints=[None] * 51), r"annotation 7 \(image 139, a.jpg\).*None"),
        (annotation(bbox=[0, 0, float("inf"), 1]), r"bbox of annotation 7 \(image 139, a.jpg\)"),
        (annotation(bbox=[0, 0, 1]), r"4 numbers in bbox of annotation 7 .*found 3"),
        (annotation(area=float("nan")), r"area of annotation 7 \(image 139, a.jpg\)"),
        (annotation(area="600"), r"area of annotation 7 .*found '600'"),
        (annotation(image_id=140), r"annotation 7 .*140 is not listed"),
        (annotation(image_id={}), r"annotation 7 .*is not listed"),
        (annotation(category_id=3), r"only people.*annotation 7 .*category_id 3"),
        (without("area"), r"'area' in every annotation .*number 1 \(id 7\)"),
        (without("keypoints"), r"'keypoints' in every annotation .*number 1 \(id 7\)"),
        (without("bbox"), r"'bbox' in every annotation .*number 1 \(id 7\)"),
        (without("id"), r"'id' in every annotation .*number 1 \(id none\)"),
    ],
)
def test_wrong_annotations_are_named(tmp_path: Path, wrong: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_annotations(write(tmp_path, annotation(id=1), wrong), PROTOCOLS["coco"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has 0 characters"),
        ('{"images": [{"id": 1}, {"id"', "it has 28 characters"),
        ('{"images": [{"id": 1, "file_na', "it has 30 characters"),
        ('{"images": [,]}', "line 1, column 13"),
        ("[]", "'images' in .*no keys"),
        ('{"annotations": []}', r"'images' in .*\['annotations'\]"),
        ('{"images": [{"id": 1}]}', r"'annotations' in .*\['images'\]"),
        ('{"images": [{"id": "1"}], "annotations": []}', "number 0 has '1'"),
        ('{"images": 3, "annotations": []}', "list of objects"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as refused:
        read_annotations(path, PROTOCOLS["coco"])
    assert str(path) in str(refused.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        read_annotations(tmp_path / "none.json", PROTOCOLS["coco"])
    with pytest.raises(DataError, match="found a folder"):
        read_annotations(tmp_path, PROTOCOLS["coco"])
    packed = tmp_path / "packed.json"
    packed.write_bytes(b"PK\x03\x04\xff\xfe\xff")
    with pytest.raises(DataError, match="unpack it"):
        read_annotations(packed, PROTOCOLS["coco"])
