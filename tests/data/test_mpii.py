"""MPII's files: the common JSON list, the official .mat, head boxes beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from posebench.data import open_dataset
from posebench.data.doctor import examine
from posebench.data.mpii import LAYOUT
from posebench.errors import DataError
from posebench.skeleton import MPII

JOINTS = [[float(10 + 5 * k), float(100 - 3 * k)] for k in range(16)]  # from 1 on


def entry(image: str, missing: tuple[int, ...] = (), **fields: Any) -> dict[str, Any]:
    joints = [[-1.0, -1.0] if k in missing else JOINTS[k] for k in range(16)]
    shown = [0 if k in missing else 1 for k in range(16)]
    place = {"center": [50.0, 60.0], "scale": 1.5}
    return {"image": image, "joints": joints, "joints_vis": shown, **place, **fields}


def write(root: Path, name: str, people: Any, images: tuple[str, ...] = ()) -> Path:
    path = root / "mpii" / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(people))
    for image in images:
        picture = np.zeros((120, 160, 3), np.uint8)
        (root / "mpii" / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "mpii" / "images" / image), picture)
    return path


def write_heads(root: Path, count: int, name: str = "mpii_gt_val.mat") -> None:
    boxes = np.zeros((2, 2, count))
    boxes[:, :, :] = np.array([[11.0, 21.0], [41.0, 61.0]])[..., None]
    savemat(root / "mpii" / "annotations" / name, {"headboxes_src": boxes})


def test_the_usual_list_is_read_from_zero_on_and_by_image(tmp_path: Path) -> None:
    people = [entry("017.jpg"), entry("005.jpg", missing=(0, 9)), entry("017.jpg")]
    write(tmp_path, "mpii_train.json", people, ("017.jpg", "005.jpg"))
    dataset = open_dataset("mpii", "train", root=tmp_path)
    assert (dataset.name, dataset.skeleton) == ("mpii", MPII)
    samples = [dataset.load(index) for index in range(len(dataset))]
    assert [sample.image_id for sample in samples] == [17, 5]
    assert [len(sample.poses) for sample in samples] == [2, 1]
    assert [sample.size for sample in samples] == [(160, 120)] * 2
    one = samples[1].poses
    assert one.visibility[0].tolist() == [0] + [2] * 8 + [0] + [2] * 6
    assert one.keypoints[0, 1].tolist() == [14.0, 96.0]
    assert one.keypoints[0, 0].tolist() == [0.0, 0.0]
    assert dataset.load(1, pixels=False).size == (160, 120)
    assert dataset.labelled() == [0, 1]


def test_boxes_are_the_keypoints_and_a_tenth_of_the_longer_side(tmp_path: Path) -> None:
    write(tmp_path, "mpii_train.json", [entry("1.jpg")], ("1.jpg",))
    [person] = open_dataset("mpii", "train", root=tmp_path).ground_truth().to_coco()["annotations"]
    # Keypoints from (9, 54) to (84, 99).
    assert person["bbox"] == [1.5, 46.5, 90.0, 60.0]
    assert person["area"] == pytest.approx(0.53 * 90 * 60)
    assert "headbox_xyxy" not in person


def test_head_boxes_beside_val_are_taken(tmp_path: Path) -> None:
    write(tmp_path, "mpii_val.json", [entry("1.jpg"), entry("2.jpg")], ("1.jpg", "2.jpg"))
    write_heads(tmp_path, 2)
    people = open_dataset("mpii", "val", root=tmp_path).ground_truth().to_coco()["annotations"]
    assert [person["headbox_xyxy"] for person in people] == [[10, 20, 40, 60]] * 2
    # The head reaches beyond the keypoints, from y 54 to 20.
    assert people[0]["bbox"] == pytest.approx([9 - 7.9, 20 - 7.9, 75 + 15.8, 79 + 15.8])
    write_heads(tmp_path, 3)
    with pytest.raises(DataError, match="2 people"):
        open_dataset("mpii", "val", root=tmp_path)


def test_hrnets_names_are_found(tmp_path: Path) -> None:
    write(tmp_path, "valid.json", [entry("1.jpg")], ("1.jpg",))
    write_heads(tmp_path, 1, "gt_valid.mat")
    [person] = open_dataset("mpii", "val", root=tmp_path).ground_truth().to_coco()["annotations"]
    assert person["headbox_xyxy"] == [10, 20, 40, 60]


def test_files_in_cocos_format_stay_as_they_are(tmp_path: Path) -> None:
    keypoints = [value for x, y in JOINTS for value in (x, y, 2)]
    person = {
        "id": 1, "image_id": 7, "category_id": 1, "keypoints": keypoints, "bbox": [0, 0, 9, 9],
        "area": 5.0, "headbox_xyxy": [1, 2, 3, 4],
    }  # fmt: skip
    path = write(tmp_path, "own.json", {"images": [{"id": 7}], "annotations": [person]})
    dataset = open_dataset("mpii", "val", root=tmp_path, annotations=path)
    [read] = dataset.ground_truth().to_coco()["annotations"]
    assert read["keypoints"] == keypoints


# ------------------------------------------------------------------------------- the official .mat


def points(*rows: tuple[int, float, float, Any]) -> dict[str, Any]:
    """Return annopoints as MATLAB has them; head and neck carry no flag."""
    fields = [("id", "O"), ("x", "O"), ("y", "O"), ("is_visible", "O")]
    found = np.empty(len(rows), dtype=fields)
    for index, (k, x, y, flag) in enumerate(rows):
        found[index] = (k, x, y, np.zeros((0, 0)) if flag is None else flag)
    return {"point": found}


def rect(**fields: Any) -> dict[str, Any]:
    return {"x1": 11.0, "y1": 21.0, "x2": 41.0, "y2": 61.0, **fields}


def images_of(*pairs: tuple[str, Any]) -> Any:
    found = np.empty(len(pairs), dtype=[("image", "O"), ("annorect", "O")])
    for index, (name, rects) in enumerate(pairs):
        found[index] = ({"name": name}, rects)
    return found


def rects_of(*rects: dict[str, Any]) -> Any:
    names = sorted({name for one in rects for name in one})
    found = np.empty(len(rects), dtype=[(name, "O") for name in names])
    for index, one in enumerate(rects):
        found[index] = tuple(one.get(name, np.zeros((0, 0))) for name in names)
    return found


@pytest.mark.parametrize("train", [[1, 1, 0, 1], [1, 1, 0, 0]])
def test_the_official_file_gives_its_training_images(tmp_path: Path, train: list[int]) -> None:
    whole = points((0, 11.0, 21.0, 0), (1, 31.0, 41.0, "1"), (9, 51.0, 61.0, None))
    release = {
        "annolist": images_of(
            ("000003.jpg", rects_of(rect(annopoints=whole), rect())),
            ("000001.jpg", rect(annopoints=points((15, 5.0, 6.0, 1)))),
            ("000009.jpg", rect()),
            ("000011.jpg", np.zeros((0, 0))),
        ),
        "img_train": np.array(train),
    }
    path = tmp_path / "mpii" / "annotations" / "mpii_human_pose_v1_u12_1.mat"
    path.parent.mkdir(parents=True)
    savemat(path, {"RELEASE": release})
    truth = open_dataset("mpii", "trainval", root=tmp_path).ground_truth().to_coco()
    assert [image["file_name"] for image in truth["images"]] == ["000003.jpg", "000001.jpg"]
    first, second, third = truth["annotations"]
    assert first["keypoints"][:6] == [10, 20, 1, 30, 40, 2]
    assert first["keypoints"][27:30] == [50, 60, 2]
    assert first["num_keypoints"] == 3
    assert first["headbox_xyxy"] == [10, 20, 40, 60]
    assert second["num_keypoints"] == 0
    assert (third["image_id"], third["keypoints"][-3:]) == (1, [4, 5, 2])


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"not one at all" * 40])
def test_a_damaged_mat_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.mat"):
        open_dataset("mpii", "train", root=tmp_path, annotations=path)


def test_another_mat_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "other.mat", {"x": np.zeros(3)})
    with pytest.raises(DataError, match="RELEASE"):
        open_dataset("mpii", "train", root=tmp_path, annotations=tmp_path / "other.mat")


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"joints": JOINTS[:14]}, "16 joints"),
        ({"joints": None}, "NoneType"),
        ({"joints": [*JOINTS[:15], [1.0]]}, "joints of person 1"),
        ({"joints": [*JOINTS[:15], [1.0, float("nan")]]}, "finite"),
        ({"joints_vis": [1] * 15}, "joints_vis of person 1"),
        ({"image": None}, "file name as the image of person 1"),
    ],
)
def test_wrong_entries_are_refused_by_number(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    write(tmp_path, "mpii_train.json", [entry("1.jpg"), entry("2.jpg") | change], ("1.jpg",))
    with pytest.raises(DataError, match=named):
        open_dataset("mpii", "train", root=tmp_path)


@pytest.mark.parametrize("person", [7, {}, {"image": "1.jpg", "joints": JOINTS}])
def test_a_list_of_other_things_is_refused(tmp_path: Path, person: Any) -> None:
    write(tmp_path, "mpii_train.json", [person])
    with pytest.raises(DataError, match="common JSON"):
        open_dataset("mpii", "train", root=tmp_path)


def test_a_missing_split_and_image_are_named(tmp_path: Path) -> None:
    write(tmp_path, "mpii_train.json", [entry("1.jpg")])
    with pytest.raises(DataError, match=r"mpii_val\.json"):
        open_dataset("mpii", "val", root=tmp_path)
    dataset = open_dataset("mpii", "train", root=tmp_path)
    with pytest.raises(DataError, match=r"1\.jpg is not there"):
        dataset.load(0, pixels=False)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "mpii_train.json", [])
    with pytest.raises(DataError, match="list of images is empty"):
        open_dataset("mpii", "train", root=tmp_path)


def test_the_doctor_reads_it(tmp_path: Path) -> None:
    write(tmp_path, "mpii_train.json", [entry("1.jpg"), entry("2.jpg")], ("1.jpg",))
    found = {f.check: f for f in examine(tmp_path / "mpii", LAYOUT)}
    assert found["labelled keypoints"].count == 32
    assert found["missing image"].examples == ["2.jpg"]
    assert {f.check for f in found.values() if f.severity == "wrong"} == {"missing image"}


def test_real_people_are_read(shared_data: Path) -> None:
    path = shared_data / "mpii" / "annotations" / "mpii_sample.json"
    dataset = open_dataset("mpii", "train", root=shared_data, annotations=path)
    assert len(dataset) == 5
    for index in range(5):
        sample = dataset.load(index)
        width, height = sample.size
        seen = sample.poses.visibility[0] > 0
        keypoints = sample.poses.keypoints[0][seen]
        assert (keypoints >= 0).all()
        assert (keypoints[:, 0] < width).all()
        assert (keypoints[:, 1] < height).all()
