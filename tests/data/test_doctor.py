"""That the doctor finds what is wrong with a folder, and nothing where nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from posebench.data import crowdpose, find_layout, open_dataset
from posebench.data.coco import LAYOUT as COCO_LAYOUT
from posebench.data.doctor import Finding, examine
from posebench.data.synthetic_files import write_synthetic
from posebench.errors import DataError
from posebench.skeleton import COCO
from tests.builders import write_coco
from tests.cli.command import run
from tests.data.test_described import cows, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a COCO folder of three pictures with four people, none of it wrong."""
    write_coco(tmp_path, people=(1, 2, 1))
    return tmp_path / "coco"


def change(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    how(content)
    path.write_text(json.dumps(content))


def found(folder: Path, severity: str, **options: Any) -> dict[str, Finding]:
    findings = examine(folder, COCO_LAYOUT, **options)
    return {f.check: f for f in findings if f.severity == severity}


def test_a_sound_folder_has_counts_only(folder: Path) -> None:
    assert found(folder, "wrong") == found(folder, "note") == {}
    counts = {name: finding.count for name, finding in found(folder, "count").items()}
    assert counts == {
        "images": 3,
        "images with labelled people": 3,
        "annotations": 4,
        "people with labelled keypoints": 4,
        "labelled keypoints": 4 * 17,
        "keypoints: % not labelled/hidden/visible": 17,
    }


def first(content: dict[str, Any]) -> dict[str, Any]:
    annotation: dict[str, Any] = content["annotations"][0]
    return annotation


@pytest.mark.parametrize(
    ("check", "example", "how"),
    [
        ("missing field", "image_id of annotation 1", lambda c: first(c).pop("image_id")),
        ("no object", "image number 3", lambda c: c["images"].append(None)),
        ("no object", "annotation number 4", lambda c: c["annotations"].append("text")),
        ("id unfit", "image number 0", lambda c: c["images"][0].update(id=[1])),
        ("image size unfit", "image 1", lambda c: c["images"][0].update(width=10**7)),
        ("duplicate image id", "1", lambda c: c["images"][1].update(id=1)),
        (
            "image listed twice",
            f"{1:012}.jpg",
            lambda c: c["images"][1].update(file_name=c["images"][0]["file_name"]),
        ),
        ("unknown image", "annotation 1", lambda c: first(c).update(image_id=99)),
        ("unknown image", "annotation 1", lambda c: first(c).update(image_id=[1])),
        ("unknown category", "annotation 1", lambda c: first(c).update(category_id=7)),
        ("keypoints unfit", "annotation 1", lambda c: first(c)["keypoints"].pop()),
        ("keypoints unfit", "annotation 1", lambda c: first(c)["keypoints"].__setitem__(0, "1")),
        (
            "keypoints unfit",
            "annotation 1",
            lambda c: first(c)["keypoints"].__setitem__(0, float("nan")),
        ),
        ("visibility unfit", "annotation 1", lambda c: first(c)["keypoints"].__setitem__(2, 5)),
        ("count unfit", "annotation 1", lambda c: first(c).update(iscrowd="no")),
        ("box unfit", "annotation 1", lambda c: first(c).update(bbox=[1, 2, "3", 4])),
        ("area unfit", "annotation 1", lambda c: first(c).update(area="large")),
    ],
)
def test_what_the_reader_refuses_is_found(
    folder: Path, check: str, example: str, how: Callable[[dict[str, Any]], object]
) -> None:
    change(folder, how)
    wrong = found(folder, "wrong")
    assert example in wrong[check].examples
    with pytest.raises(DataError):
        open_dataset("coco", "train", root=folder.parent)


@pytest.mark.parametrize(
    ("check", "how"),
    [
        ("image without a size: read from its file", lambda c: c["images"][0].pop("width")),
        ("same image entry twice", lambda c: c["images"].append(c["images"][0])),
        ("duplicate annotation id", lambda c: c["annotations"][1].update(id=1)),
        ("no keypoints given", lambda c: first(c).update(keypoints=[])),
        ("num_keypoints differs from the keypoints", lambda c: first(c).update(num_keypoints=5)),
        ("area derived", lambda c: first(c).update(area=0)),
        ("area derived", lambda c: first(c).pop("area")),
        ("box derived", lambda c: first(c)["bbox"].__setitem__(2, 0)),
        ("box derived", lambda c: first(c).pop("bbox")),
        ("outline cannot be drawn", lambda c: first(c).update(iscrowd=1, segmentation=[[1, 2]])),
        (
            "unlabelled keypoint without numbers",
            lambda c: first(c)["keypoints"].__setitem__(slice(0, 3), [None, None, 0]),
        ),
        (
            "labelled keypoint at (0, 0)",
            lambda c: first(c)["keypoints"].__setitem__(slice(0, 3), [0, 0, 2]),
        ),
        (
            "visibility is a confidence",
            lambda c: first(c)["keypoints"].__setitem__(slice(2, 51, 3), [0.9] * 17),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::posebench.errors.Notice")
def test_what_the_reader_takes_all_the_same_is_noted(
    folder: Path, check: str, how: Callable[[dict[str, Any]], object]
) -> None:
    change(folder, how)
    assert found(folder, "wrong") == {}
    assert found(folder, "note")[check].count >= 1
    assert len(open_dataset("coco", "train", root=folder.parent)) == 3


def test_keypoints_outside_their_image_are_noted(folder: Path) -> None:
    change(folder, lambda c: first(c)["keypoints"].__setitem__(slice(0, 6), [-1, 2, 2, 3, 500, 1]))
    note = found(folder, "note")["keypoint outside its image"]
    assert (note.count, note.examples) == (2, ["annotation 1"])


def test_files_that_do_not_fit_are_found(folder: Path) -> None:
    images = folder / "train2017"
    names = [f"{number:012}.jpg" for number in (1, 2, 3)]
    (images / names[0]).unlink()
    whole = (images / names[1]).read_bytes()
    (images / names[1]).write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(images / names[2]), np.zeros((90, 70, 3), np.uint8))
    wrong = found(folder, "wrong")
    assert wrong["missing image"].examples == names[:1]
    assert wrong["unreadable image"].examples == names[1:2]
    assert wrong["other size than annotated"].examples == [f"{names[2]}: 70 x 90"]
    change(folder, lambda c: c["images"][2].update(width=90, height=70))
    swapped = found(folder, "note")["width and height swapped: the file's are taken"]
    assert swapped.examples == names[2:]


def test_images_of_anothers_training_are_found(folder: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path, 10, "crowdpose", size=64)
    other = tmp_path / "crowdpose"
    against = (other, crowdpose.LAYOUT)
    # CrowdPose's default training is train and val together; its annotations name their parts.
    train = other / "annotations" / "crowdpose_trainval.json"
    train.write_text((other / "annotations" / "crowdpose_train.json").read_text())
    assert found(folder, "wrong", against=against) == {}
    counts = {check: one.count for check, one in found(folder, "count", against=against).items()}
    images = json.loads(train.read_text())["images"]
    assert counts["images compared with crowdpose trainval"] == len(list(folder.glob("train*/*")))
    assert counts["images of crowdpose trainval, by content"] == len(images)
    assert counts["also in crowdpose's training"] == 0
    name = json.loads(train.read_text())["images"][0]["file_name"]
    twin = folder / "train2017" / f"{3:012}.jpg"
    twin.write_bytes((other / "images" / name).read_bytes())
    change(folder, lambda c: c["images"][2].update(width=64, height=64))
    finding = found(folder, "wrong", against=against)["also in crowdpose's training"]
    assert finding.examples == [f"{twin.name} is {name}"]


def test_equal_coco_numbers_are_noted(folder: Path, tmp_path: Path) -> None:
    write_coco(tmp_path / "other", people=(1,))
    image = tmp_path / "other" / "coco" / "train2017" / f"{1:012}.jpg"
    cv2.imwrite(str(image), np.full((128, 128, 3), 9, np.uint8))
    against = (tmp_path / "other" / "coco", COCO_LAYOUT)
    note = found(folder, "note", against=against)["same number as in coco's training"]
    assert note.count == 1
    assert image.name in note.examples[0]


def test_a_folder_without_a_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No split of coco"):
        examine(tmp_path, COCO_LAYOUT)


def test_the_command_counts_and_ends_with_3_where_something_is_wrong(folder: Path) -> None:
    sound = run("data", "doctor", folder)
    assert sound.code == 0, sound.err
    assert "labelled keypoints" in sound.out
    change(folder, lambda c: first(c).update(area="large"))
    wrong = run("data", "doctor", folder, "--json")
    assert wrong.code == 3
    rows = json.loads(wrong.out)["rows"]
    assert {"dataset", "split", "check", "severity", "count", "examples"} == set(rows[0])
    assert [row["check"] for row in rows if row["severity"] == "wrong"] == ["area unfit"]
    assert "has 1 error that" in wrong.err


def test_the_layout_is_the_folders_name_or_named(folder: Path, tmp_path: Path) -> None:
    other = folder.rename(tmp_path / "mine")
    own = run("data", "doctor", other)
    assert own.code == 3
    assert "does not name its keypoints" in own.err
    assert run("data", "doctor", other, "--dataset", "coco").code == 0
    assert run("data", "doctor", other, "--dataset", "synthetic").code == 2
    assert run("data", "doctor", tmp_path / "nothing").code == 3


def test_real_images_are_sound(shared_data: Path) -> None:
    assert run("data", "doctor", shared_data / "coco").code == 0


# ---------------------------------------------------------------------------- what looks wrong


Points = dict[str, dict[str, float]]


def crowd_of(folder: Path, count: int, how: Callable[[Points], object]) -> None:
    """Write a split of people who face the camera, each changed by `how`."""
    names = COCO.keypoints

    def people(content: dict[str, Any]) -> None:
        content["annotations"] = []
        for number in range(count):
            points = {}
            for k, name in enumerate(names):
                side = {"left": 8, "right": -8}.get(name.partition("_")[0], 0)
                points[name] = {"x": 60.0 + side, "y": 20.0 + 4 * k, "v": 2 - (k == 9)}
            how(points)
            row = [points[name][key] for name in names for key in ("x", "y", "v")]
            content["annotations"].append(
                {
                    "id": number + 1, "image_id": 1 + number % 3, "category_id": 1, "area": 900,
                    "keypoints": row, "num_keypoints": 17, "bbox": [40, 10, 40, 90], "iscrowd": 0,
                }
            )  # fmt: skip

    change(folder, people)


def swap(points: Points, part: str) -> None:
    left, right = points[f"left_{part}"], points[f"right_{part}"]
    left["x"], right["x"] = right["x"], left["x"]


PARTS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@pytest.mark.parametrize(
    ("parts", "unlabelled", "expected"),
    [
        ((), (), set()),
        (("elbow",), (), {"elbow"}),
        (PARTS, (), set(PARTS)),
        # Without a face only what differs from the other pairs is seen.
        (("elbow",), ("nose",), {"elbow"}),
        (PARTS, ("nose",), set()),
    ],
)
def test_exchanged_sides_are_noted(
    folder: Path, parts: tuple[str, ...], unlabelled: tuple[str, ...], expected: set[str]
) -> None:
    def how(points: Points) -> None:
        for part in parts:
            swap(points, part)
        for name in unlabelled:
            points[name]["v"] = 0

    crowd_of(folder, 12, how)
    [finding] = [
        found(folder, "note").get("left and right look exchanged", Finding("train", "", "note"))
    ]
    assert finding.count == len(expected)
    shown = [f"left_{p} and right_{p} of 12 of 12 people" for p in PARTS if p in expected]
    assert finding.examples == shown[:5]


def test_a_few_people_seen_from_behind_say_nothing(folder: Path) -> None:
    everyone = iter(range(12))

    def some_turned(points: Points) -> None:
        for part in PARTS if next(everyone) % 2 else ():
            swap(points, part)

    crowd_of(folder, 12, some_turned)
    assert "left and right look exchanged" not in found(folder, "note")
    everyone = iter([1] * 9)  # all are turned, but nine are too few to tell
    crowd_of(folder, 9, some_turned)
    assert "left and right look exchanged" not in found(folder, "note")


def test_the_shares_of_visibility_are_counted_for_each_keypoint(folder: Path) -> None:
    crowd_of(folder, 4, lambda points: points["left_ear"].update(v=0))
    shares = found(folder, "count")["keypoints: % not labelled/hidden/visible"]
    assert shares.count == 17
    assert shares.examples[:4] == [
        "nose 0/0/100", "left_eye 0/0/100", "right_eye 0/0/100", "left_ear 100/0/0",
    ]  # fmt: skip
    assert shares.examples[9] == "left_wrist 0/100/0"
    assert found(folder, "note")["keypoint never labelled"].examples == ["left_ear"]


def test_keypoints_outside_their_box_are_noted(folder: Path) -> None:
    # The longer side is 90, so that 9 pixels beside the box are allowed.
    crowd_of(folder, 3, lambda points: points["left_hip"].update(x=88.9))
    assert "keypoint outside its box" not in found(folder, "note")
    crowd_of(folder, 3, lambda points: points["left_hip"].update(x=89.1))
    note = found(folder, "note")["keypoint outside its box"]
    assert (note.count, note.examples[0]) == (3, "annotation 1")
    crowd_of(folder, 3, lambda points: points["left_hip"].update(x=89.1, v=0))
    assert "keypoint outside its box" not in found(folder, "note")


def apart(tmp_path: Path, train: tuple[str, ...], val: tuple[str, ...]) -> dict[str, Finding]:
    """Return what is noted of val in a dataset of cows with these images."""
    for split, names in (("train", train), ("val", val)):
        write(tmp_path / f"{split}.json", cows(images=names), tmp_path / "images")
    layout = find_layout(str(tmp_path))
    return {f.check: f for f in examine(tmp_path, layout) if f.split == "val"}


def test_images_and_videos_of_both_splits_are_noted(tmp_path: Path) -> None:
    noted = apart(
        tmp_path, ("take1/1.png", "take2/1.png", "take3/1.png"), ("take2/2.png", "take4/2.png")
    )
    folders = noted["folder is also in train"]
    assert (folders.severity, folders.count, folders.examples) == ("note", 1, ["take2"])
    assert "image is also in train" not in noted


def test_one_folder_of_all_images_is_no_video(tmp_path: Path) -> None:
    noted = apart(tmp_path, ("all/1.png", "all/2.png"), ("all/3.png", "all/2.png"))
    assert "folder is also in train" not in noted
    assert noted["image is also in train"].examples == ["2.png"]


def test_label_studios_joint_annotations_are_an_error(tmp_path: Path) -> None:
    content = cows(images=("1.png", "2.png"))
    content["categories"].append({"id": 2, "name": "box"})
    boxes = [
        {"id": 10 + n, "image_id": 1 + n % 2, "category_id": 2, "bbox": [1, 1, 5, 5]}
        for n in range(4)
    ]
    content["annotations"] += boxes
    path = write(tmp_path / "result.json", content)
    [wrong] = [f for f in examine(path, find_layout(str(path))) if f.severity == "wrong"]
    assert wrong.check == "all keypoints of an image in one annotation"
    with pytest.raises(DataError, match=r"joins the keypoints of all people"):
        open_dataset(str(path), "all")
