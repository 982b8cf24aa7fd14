from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posebench.data.annotations import read_annotations
from posebench.errors import DataError
from posebench.ground_truth import GroundTruth
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


def read(path: Path, dataset: str = "coco") -> GroundTruth:
    return read_annotations(path, PROTOCOLS[dataset])


def test_the_content_becomes_arrays(tmp_path: Path) -> None:
    path = write(tmp_path, annotation(), annotation(id=8, iscrowd=1), info={"year": 2017})
    truth = read(path)
    assert [truth.image_id(0), truth.file_names[0], truth.num_images] == [139, "a.jpg", 1]
    assert truth.keypoints.reshape(2, -1).tolist() == [annotation()["keypoints"]] * 2
    assert truth.boxes.tolist() == [[1, 2, 30, 40]] * 2
    assert truth.area.tolist() == [600.5] * 2
    assert truth.crowd.tolist() == [False, True]
    assert truth.counts.tolist() == [3, 3]
    assert truth.people.tolist() == [True, False]
    assert truth.of_image(0).tolist() == [0, 1]
    assert list(truth.ids) == ["7", "8"]


@pytest.mark.parametrize("stated", [None, 0, 1, 51, 3.0])
def test_labelled_keypoints_are_counted_whatever_the_file_says(tmp_path: Path, stated: Any) -> None:
    person = annotation(num_keypoints=stated) if stated is not None else without("num_keypoints")
    assert read(write(tmp_path, person)).counts.tolist() == [3]


def test_crowdpose_takes_its_area_from_the_box_and_counts_no_head(tmp_path: Path) -> None:
    person = without("area") | {"keypoints": [0, 0, 0] * 11 + [5, 5, 1] * 3}
    truth = read(write(tmp_path, person), "crowdpose")
    assert truth.counts.tolist() == [1]
    assert truth.area.tolist() == pytest.approx([0.53 * 30 * 40])


def test_no_annotations_are_allowed_but_no_images_are_not(tmp_path: Path) -> None:
    assert len(read(write(tmp_path))) == 0
    with pytest.raises(DataError, match="Expected images"):
        read(write(tmp_path, images=[]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("text", "list of objects"),
        (annotation(keypoints=[1.0] * 42), r"17 keypoints.*annotation 7 .*found 14"),
        (annotation(keypoints=[1.0] * 50), r"17 keypoints.*annotation 7 .*found 16.6667"),
        (annotation(keypoints=[float("nan"), 1, 2] * 17), r"7 \(image 139, a.jpg\).*nan .*nose"),
        (annotation(keypoints=[1, None, 2] * 17), r"annotation 7 \(image 139, a.jpg\).*nan.*nose"),
        (annotation(keypoints=["1"] * 51), r"annotation 7 \(image 139, a.jpg\).*found '1'"),
        (annotation(keypoints=[1.0, 2.0] * 17), r"34 numbers are 17 pairs x, y without"),
        (annotation(keypoints=[1.0, 2.0, -1] * 17), r"0, 1 or 2 of nose .*annotation 7.* found -1"),
        (annotation(keypoints=[1.0, 2.0, 3] * 17), r"of nose .*found 3.*\(visibility = "),
        (annotation(bbox=[0, 0, float("inf"), 1]), r"bbox of annotation 7 \(image 139, a.jpg\)"),
        (annotation(bbox=[0, 0, 1]), r"4 numbers in bbox of annotation 7 .*found 3"),
        (annotation(area=float("nan")), r"area of annotation 7 \(image 139, a.jpg\)"),
        (annotation(area="600"), r"area of annotation 7 .*found '600'"),
        (annotation(image_id=140), r"annotation 7 .*140 is not listed"),
        (annotation(image_id={}), r"annotation 7 .*is not listed"),
        (annotation(category_id=3), r"keypoints in the categories 1, 3 .*`category`"),
        (without("image_id"), r"'image_id' in every annotation .* annotation 7 has none"),
    ],
)
def test_wrong_annotations_are_named(tmp_path: Path, wrong: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, annotation(id=1), wrong))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has 0 characters"),
        ('{"images": [{"id": 1}, {"id"', "it has 28 characters"),
        ('{"images": [{"id": 1, "file_na', "it has 30 characters"),
        ('{"images": [,]}', "line 1, column 13"),
        ("[]", "'images' in .*no keys"),
        ('{"annotations": []}', r"'images' in .*\['annotations'\]"),
        ('{"images": [{"id": null}], "annotations": []}', "number 0 has None"),
        ('{"images": [{"id": 1, "annotations": []}]}', "OCHuman's original file.*coco_format"),
        ('{"images": []}\n{"images": []}', "line 2: it looks like JSON lines"),
        ('[{"image_id": 1, "score": 1}]', "It looks like a result file"),
        ('{"images": 3, "annotations": []}', "list of objects"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        read(tmp_path / "none.json")
    with pytest.raises(DataError, match="found a folder"):
        read(tmp_path)
    packed = tmp_path / "packed.json"
    packed.write_bytes(b"PK\x03\x04\xff\xfe\xff")
    with pytest.raises(DataError, match="unpack it"):
        read(packed)
