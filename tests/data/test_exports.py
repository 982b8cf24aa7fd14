"""Annotation files as tools export them: the same people, whatever the form."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posebench.data import open_dataset
from posebench.data.annotations import ReadOptions, read_annotations, read_as
from posebench.errors import DataError, Notice
from posebench.ground_truth import GroundTruth
from posebench.metrics import evaluate_keypoints
from posebench.skeleton import COCO, named_skeletons
from posebench.structures import Protocol
from tests.builders import PROTOCOLS
from tests.data.test_described import COW, cows
from tests.data.test_described import write as write_with_images

pytestmark = pytest.mark.filterwarnings("ignore::posebench.errors.Notice")

Content = dict[str, Any]

JRDB = (
    "head", "right eye", "left eye", "right shoulder", "center shoulder", "left shoulder",
    "right elbow", "left elbow", "center hip", "right wrist", "right hip", "left hip",
    "left wrist", "right knee", "left knee", "right foot", "left foot",
)  # fmt: skip


def person(number: int, image_id: int, left: float) -> Content:
    """Return a person of COCO's keypoints, whose ears are not labelled."""
    points = [
        [left + 2.0 * k, 20.0 + 3 * k, 2] if k not in (3, 4) else [0, 0, 0] for k in range(17)
    ]
    return {
        "id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "num_keypoints": 15,
        "keypoints": [value for point in points for value in point],
        "bbox": [left - 5.0, 15.0, 45.0, 60.0], "area": 1500.0,
    }  # fmt: skip


def usual() -> Content:
    """Return a file as COCO writes it: two images with two people each."""
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 200, "height": 100} for n in (1, 2)],
        "annotations": [
            person(2 * n + side, n, 10.0 + 90 * side) for n in (1, 2) for side in (0, 1)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}],
    }


def write(folder: Path, content: Content) -> Path:
    path = folder / "people.json"
    path.write_text(json.dumps(content))
    return path


def read(folder: Path, content: Content, **options: Any) -> GroundTruth:
    return read_annotations(
        write(folder, content), PROTOCOLS["coco"], ReadOptions(**options) if options else None
    )


def own(folder: Path, content: Content, **options: Any) -> GroundTruth:
    """Read a file with its own keypoints."""
    return read_as(write(folder, content), None, ReadOptions(**options))


def scored(truth: GroundTruth, results: list[Content]) -> float:
    return evaluate_keypoints(truth, results, Protocol(truth.skeleton))["AP"]


def perfect(truth: GroundTruth, shift: float = 0.0) -> list[Content]:
    """Return everyone who is labelled as a detection, moved by some pixels."""
    found = []
    for index in np.flatnonzero(truth.people).tolist():
        rows = np.array(truth.keypoints[index], np.float64)
        rows[:, 0] += shift
        found.append(
            {
                "image_id": truth.image_id(int(truth.image[index])), "score": 0.9,
                "category_id": truth.category_ids[0], "keypoints": rows.ravel().tolist(),
            }
        )  # fmt: skip
    return found


# ------------------------------------------------------------------------------------------- names


def reordered(content: Content, order: list[int], names: list[str]) -> None:
    content["categories"][0]["keypoints"] = [names[k] for k in order]
    for annotation in content["annotations"]:
        rows = np.array(annotation["keypoints"]).reshape(-1, 3)
        annotation["keypoints"] = rows[order].ravel().tolist()


def test_names_in_another_order_are_followed_and_that_is_said(tmp_path: Path) -> None:
    before = read(tmp_path, usual())
    content = usual()
    reordered(content, list(range(16, -1, -1)), list(COCO.keypoints))
    with pytest.warns(Notice, match="in another order and are taken by name"):
        after = read(tmp_path, content)
    assert after.keypoints.tolist() == before.keypoints.tolist()


@pytest.mark.parametrize(
    "spelt",
    [str.upper, str.title, lambda name: name.replace("_", " "), lambda name: name.replace("_", "-"),
     lambda name: name.replace("left_", "L_").replace("right_", "R_")],
)  # fmt: skip
def test_names_are_compared_whatever_their_spelling(
    tmp_path: Path, spelt: Callable[[str], str]
) -> None:
    content = usual()
    content["categories"][0]["keypoints"] = [spelt(name) for name in COCO.keypoints]
    assert read(tmp_path, content).keypoints.tolist() == read(tmp_path, usual()).keypoints.tolist()


@pytest.mark.parametrize("names", [named_skeletons()["ap10k"].keypoints, JRDB])
def test_seventeen_other_keypoints_are_not_cocos(tmp_path: Path, names: tuple[str, ...]) -> None:
    content = usual()
    content["categories"][0]["keypoints"] = list(names)
    with pytest.raises(DataError, match=f"17 keypoints of coco .*nose.*but it has 17 .{names[0]}"):
        read(tmp_path, content)
    assert own(tmp_path, content).skeleton.keypoints == names


def test_head_and_neck_count_in_a_set_of_ones_own(tmp_path: Path) -> None:
    content = cows(("head", "neck", "tail"))
    assert own(tmp_path, content).counts.tolist() == [3]


# --------------------------------------------------------------------------- people and categories


def test_a_person_with_no_labelled_keypoint_is_none_whatever_the_file_counts(
    tmp_path: Path,
) -> None:
    content = usual()
    content["annotations"] = content["annotations"][:2]
    nobody = content["annotations"][1]
    nobody.update(keypoints=[0] * 51, num_keypoints=17)
    truth = read(tmp_path, content)
    assert truth.people.tolist() == [True, False]
    # A pose in the box of whom nobody labelled finds nobody: the other person is missed.
    x, y, width, height = nobody["bbox"]
    inside = [x + width / 2, y + height / 2, 1] * 17
    result = {"image_id": 1, "category_id": 1, "keypoints": inside, "score": 0.9}
    assert scored(truth, [result]) == 0
    assert scored(truth, [result, *perfect(truth)]) == 1


@pytest.mark.parametrize("number", [0, 5, 1.0, "3"])
def test_any_number_may_stand_for_people(tmp_path: Path, number: Any) -> None:
    content = usual()
    content["categories"][0]["id"] = number
    for annotation in content["annotations"]:
        annotation["category_id"] = number
    truth = read(tmp_path, content)
    assert int(truth.people.sum()) == 4
    assert truth.category_ids == (int(number),)
    assert scored(truth, perfect(truth)) == 1


def test_other_categories_are_left_out_and_people_without_keypoints_kept(tmp_path: Path) -> None:
    content = usual()
    ball = {"id": 90, "image_id": 1, "category_id": 2, "bbox": [1, 1, 9, 9]}
    nobody = {"id": 91, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}
    content["annotations"] += [ball, nobody]
    content["categories"].append({"id": 2, "name": "ball"})
    with pytest.warns(Notice, match=r"1 annotations of other categories are left out \(ball\)"):
        truth = read(tmp_path, content)
    assert truth.people.tolist() == [True] * 4 + [False]
    assert truth.boxes[4].tolist() == [1, 1, 9, 9]
    assert scored(truth, perfect(truth)) == 1


def test_categories_with_different_keypoints_are_to_be_chosen_from(tmp_path: Path) -> None:
    # DeepLabCut has the parts that no animal owns in a category of their own, in nested arrays.
    content = cows(images=("1.png",))
    content["annotations"][0]["keypoints"] = [[8, 8, 2], [5, 5, 2], [12, 5, 0], [20, 10, 2],
                                              [-1, -1, 0]]  # fmt: skip
    del content["annotations"][0]["area"]
    corner = {"id": 9, "image_id": 1, "category_id": 2, "keypoints": [[3, 3, 2]]}
    content["annotations"].append(corner)
    content["categories"].append({"id": 2, "name": "unique_bodypart", "keypoints": ["corner"]})
    with pytest.raises(DataError, match=r"cow: 5 keypoints; unique_bodypart: 1 keypoints.*choose"):
        own(tmp_path, content)
    with pytest.warns(Notice):
        truth = own(tmp_path, content, category=("cow",))
    assert truth.skeleton.keypoints == COW
    assert truth.keypoints[0, :, 2].tolist() == [2, 2, 0, 2, 0]


def test_files_with_whole_paths_are_found(tmp_path: Path) -> None:
    content = cows()
    content["images"][0]["file_name"] = str(tmp_path / "far" / "1.png")
    path = write_with_images(tmp_path / "labels" / "cows.json", content)
    with pytest.warns(Notice):
        assert open_dataset(str(path), "all").load(0).image.shape == (30, 40, 3)


def test_points_that_are_annotations_of_their_own_are_no_people(tmp_path: Path) -> None:
    # RectLabel and LabelMe: a category for each keypoint, and a box of a pixel.
    content = usual()
    content["categories"] = [{"id": k + 1, "name": n} for k, n in enumerate(COCO.keypoints)]
    content["annotations"] = [
        {"id": k, "image_id": 1, "category_id": k + 1, "bbox": [5, 5, 1, 1]} for k in range(17)
    ]
    for reading in (read, own):
        with pytest.raises(DataError, match="keypoints"):
            reading(tmp_path, content)


# ------------------------------------------------------------------------------ forms of a record


def each(change: Callable[[Content], object]) -> Callable[[Content], None]:
    def all_of(content: Content) -> None:
        for annotation in content["annotations"]:
            change(annotation)

    return all_of


def nested(annotation: Content) -> None:
    row = annotation["keypoints"]
    annotation["keypoints"] = [row[k : k + 3] for k in range(0, 51, 3)]


def unlabelled(*values: Any) -> Callable[[Content], None]:
    def change(annotation: Content) -> None:
        annotation["keypoints"][9:15] = [*values] * 2

    return each(change)


def float_ids(content: Content) -> None:
    for image in content["images"]:
        image.update(id=float(image["id"]), width=200.0, height=100.0)
    each(lambda a: a.update(image_id=float(a["image_id"]), id=float(a["id"])))(content)


def text_ids(content: Content) -> None:
    each(lambda a: a.update(image_id=str(a["image_id"]), id=f"a{a['id']}"))(content)


def moved_from_zero(content: Content) -> None:
    for image in content["images"]:
        image["id"] -= 1
    each(lambda a: a.update(image_id=a["image_id"] - 1, id=a["id"] - 2))(content)


FORMS: dict[str, Callable[[Content], object]] = {
    "nested": each(nested),
    "unlabelled NaN": unlabelled(math.nan, math.nan, 0),
    "unlabelled null": unlabelled(None, None, 0),
    "unlabelled null flag": unlabelled(None, None, None),
    "absent with a place": unlabelled(7, 8, 0),  # CVAT keeps it
    "iscrowd 0.0": each(lambda a: a.update(iscrowd=0.0)),
    "no iscrowd": each(lambda a: a.pop("iscrowd")),
    "num_keypoints 15.0": each(lambda a: a.update(num_keypoints=15.0)),
    "num_keypoints 17": each(lambda a: a.update(num_keypoints=17)),  # FastLabel: always K
    "no num_keypoints": each(lambda a: a.pop("num_keypoints")),
    "float ids": float_ids,
    "text ids": text_ids,
    "ids from 0": moved_from_zero,
    "equal annotation ids": each(lambda a: a.update(id=1)),
    "no annotation ids": each(lambda a: a.pop("id")),
    "category 1.0": each(lambda a: a.update(category_id=1.0)),
    "other keys": each(lambda a: a.update(attributes={"occluded": False}, isbbox=False)),
    "floats": each(lambda a: a.update(keypoints=[float(v) for v in a["keypoints"]])),
    "no category list": lambda content: content.pop("categories"),
    "confidences": each(
        lambda a: a.update(keypoints=[0.6 if v == 2 else v for v in a["keypoints"]])
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_people(tmp_path: Path, form: str) -> None:
    before = read(tmp_path, usual())
    content = usual()
    FORMS[form](content)
    after = read(tmp_path, content)
    assert after.counts.tolist() == [15] * 4
    assert after.people.tolist() == before.people.tolist()
    labelled = before.keypoints[..., 2] > 0
    assert (after.keypoints[..., 2] > 0).tolist() == labelled.tolist()
    assert (
        after.keypoints[..., :2][labelled].tolist() == before.keypoints[..., :2][labelled].tolist()
    )
    assert after.image.tolist() == before.image.tolist()
    assert after.boxes.tolist() == before.boxes.tolist()
    assert scored(after, perfect(after)) == 1


@pytest.mark.parametrize("key", ["iscrowd", "is_crowd"])
@pytest.mark.parametrize("value", [1, True, 1.0])
def test_crowds_of_either_spelling_are_no_people(tmp_path: Path, key: str, value: Any) -> None:
    content = usual()
    for annotation in content["annotations"]:
        annotation[key] = annotation.pop("iscrowd")  # JRDB spells it so
    content["annotations"][0][key] = value
    truth = read(tmp_path, content)
    assert truth.crowd.tolist() == [True, False, False, False]
    assert truth.people.tolist() == [False, True, True, True]


def test_an_empty_list_of_keypoints_is_nobody(tmp_path: Path) -> None:
    content = usual()  # CVAT's tracks
    content["annotations"][0].update(keypoints=[], num_keypoints=0, bbox=[0, 0, 0, 0], area=0)
    truth = read(tmp_path, content)
    assert truth.people.tolist() == [False, True, True, True]
    assert scored(truth, perfect(truth)) == 1


def test_flags_may_mean_something_else(tmp_path: Path) -> None:
    content = usual()
    for annotation in content["annotations"]:
        annotation["keypoints"][2::3] = [{2: 1, 0: 3}[v] for v in annotation["keypoints"][2::3]]
    with pytest.raises(DataError, match=r"0, 1 or 2 of left_ear .*found 3.*visibility = \{ 3 = 0"):
        read(tmp_path, content)
    truth = read(tmp_path, content, visibility={3: 0, 1: 2})
    assert truth.keypoints.tolist() == read(tmp_path, usual()).keypoints.tolist()


def test_numbers_beyond_64_bits_are_ids_too(tmp_path: Path) -> None:
    content = usual()
    content["images"][0]["id"] = 2.0**63
    for annotation in content["annotations"][:2]:
        annotation["image_id"] = 2.0**63
    truth = read(tmp_path, content)
    assert truth.image.tolist() == [0, 0, 1, 1]
    assert scored(truth, perfect(truth)) == 1


@pytest.mark.parametrize("side", [2**31, 2.0**31, -1])
def test_an_impossible_size_is_named(tmp_path: Path, side: float) -> None:
    content = usual()
    content["images"][1]["width"] = side
    with pytest.raises(DataError, match=f"width and height above 0 .* image 2 .*{int(side)} and"):
        read(tmp_path, content)


# -------------------------------------------------------------------------------- boxes and areas


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("area"), "4 labelled annotations have no area"),
        (lambda a: a.update(area=0), "4 labelled annotations have no area, or none above 0"),
    ],
)
def test_an_area_is_half_the_box_and_a_pixel_off_is_found(
    tmp_path: Path, change: Callable[[Content], object], said: str
) -> None:
    content = usual()
    each(change)(content)
    with pytest.warns(Notice, match=said):
        truth = read(tmp_path, content)
    assert truth.area.tolist() == pytest.approx([0.53 * 45 * 60] * 4)
    assert scored(truth, perfect(truth, shift=1)) == 1


@pytest.mark.parametrize(
    "change", [lambda a: a.pop("bbox"), lambda a: a.update(bbox=[0, 0, 0, 0], area=0)]
)
def test_a_box_is_the_hull_grown_by_a_tenth(
    tmp_path: Path, change: Callable[[Content], object]
) -> None:
    content = usual()
    each(change)(content)
    with pytest.warns(Notice, match="the hull of their keypoints is taken"):
        truth = read(tmp_path, content)
    # From (10, 20) to (42, 68): a tenth of 48 on each side.
    assert truth.boxes[0].tolist() == pytest.approx([5.2, 15.2, 41.6, 57.6])
    assert scored(truth, perfect(truth, shift=1)) == 1


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 0}, {"width": None, "height": 30}])
def test_a_missing_size_is_that_of_the_image(tmp_path: Path, size: Content) -> None:
    content = cows()
    for key in ("width", "height"):
        content["images"][0].pop(key)
    content["images"][0].update(size)
    path = write_with_images(tmp_path / "cows.json", content)
    with pytest.warns(Notice):
        assert open_dataset(str(path), "all").load(0, pixels=False).size == (40, 30)


# --------------------------------------------------------------------------------- whole exports


def test_roboflow_has_a_category_of_the_project_and_counts_from_0(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        content = cows(images=(f"{split}_jpg.rf.0a1b.jpg",))
        content["images"][0]["id"] = 0
        content["annotations"][0].update(id=0, image_id=0)
        project = {"id": 0, "name": "barn", "supercategory": "none"}
        content["categories"].insert(0, project)
        write_with_images(tmp_path / split / "_annotations.coco.json", content)
    with pytest.warns(Notice):
        dataset = open_dataset(str(tmp_path), "valid")
    assert dataset.ground_truth().categories == ("cow",)
    sample = dataset.load(0)
    assert (sample.image_id, len(sample.poses)) == (0, 1)


def test_coco_annotators_masks_have_no_keypoints(tmp_path: Path) -> None:
    content = usual()
    mask = {
        "id": 70, "image_id": 2, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]],
        "area": 32, "bbox": [1, 1, 8, 8], "iscrowd": False, "isbbox": False, "color": "#fff",
    }  # fmt: skip
    content["annotations"].append(mask)
    for image in content["images"]:
        image["path"] = f"/datasets/barn/{image['file_name']}"
    truth = read(tmp_path, content)
    assert truth.people.tolist() == [True] * 4 + [False]
    assert json.loads(truth.outlines[4]) == mask["segmentation"]


@pytest.mark.parametrize(
    ("skeleton", "limbs"),
    [
        ([[1, 2], [4, 5]], ((0, 1), (3, 4))),
        ([[0, 1], [3, 4]], ((0, 1), (3, 4))),  # a 0 in it: it counts from 0
        ([[2, 3]], ((1, 2),)),
        ([], ()),
    ],
)
def test_limbs_are_counted_from_0_or_1(
    tmp_path: Path, skeleton: list[list[int]], limbs: tuple[tuple[int, int], ...]
) -> None:
    content = cows()
    content["categories"][0]["skeleton"] = skeleton
    with pytest.warns(Notice):
        assert own(tmp_path, content).skeleton.limbs == limbs


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_content(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "people.json"
    path.write_text(json.dumps(usual()), encoding=encoding)
    assert len(read_annotations(path, PROTOCOLS["coco"])) == 4


def test_the_readers_leave_what_they_are_given_as_it_is(tmp_path: Path) -> None:
    content = usual()
    kept = copy.deepcopy(content)
    read(tmp_path, content)
    assert content == kept
