"""The COCO and CrowdPose readers on small files in the official layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from posebench.data import PoseDataset, data_root, open_dataset
from posebench.errors import DataError, Notice, UsageError
from posebench.skeleton import COCO, CROWDPOSE
from tests.builders import write_coco

WIDTH, HEIGHT = 40, 30


def person(number: int, image_id: int = 1, keypoints: int = 17, **fields: Any) -> dict[str, Any]:
    """Return an annotation whose keypoint k lies at (k, number)."""
    points = [[k, number, 2] for k in range(keypoints)]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "keypoints": [value for point in points for value in point],
        "num_keypoints": keypoints,
        "bbox": [1, 2, 10, 20],
        "area": 150.5,
        "iscrowd": 0,
        **fields,
    }


def without_keypoints(number: int, **fields: Any) -> dict[str, Any]:
    return person(number, **{"keypoints": 17, "num_keypoints": 0, **fields}) | {
        "keypoints": [0] * 51
    }


def write(path: Path, annotations: list[dict[str, Any]], images: tuple[int, ...] = (1,)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT, "crowdIndex": 0.5}
            for i in images
        ],
        "annotations": annotations,
        "categories": [{"id": 1}],
    }
    path.write_text(json.dumps(content))
    return path


def open_coco(root: Path, annotations: list[dict[str, Any]], **options: Any) -> PoseDataset:
    """Write one picture with these annotations as COCO val and open it."""
    write(root / "coco" / "annotations" / "person_keypoints_val2017.json", annotations)
    folder = root / "coco" / "val2017"
    folder.mkdir()
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[..., 2] = 200  # red, as OpenCV orders its channels
    cv2.imwrite(str(folder / "1.png"), picture)
    return open_dataset("coco", "val", root=root, **options)


# ------------------------------------------------------------------------------------------- COCO


def test_coco_is_read_from_the_official_layout(tmp_path: Path) -> None:
    annotations = json.loads(write_coco(tmp_path, people=(1, 0, 2)).read_text())["annotations"]
    dataset = open_dataset("coco", "train", root=tmp_path)
    assert (dataset.name, dataset.split, dataset.skeleton) == ("coco", "train", COCO)
    samples = [dataset.load(index) for index in range(len(dataset))]
    assert [sample.image_id for sample in samples] == [1, 2, 3]
    assert [sample.name for sample in samples] == [f"{i:012}.jpg" for i in (1, 2, 3)]
    assert [len(sample.poses) for sample in samples] == [1, 0, 2]
    assert [sample.size for sample in samples] == [(128, 128)] * 3
    assert samples[1].poses.keypoints.shape == (0, 17, 2)
    last = samples[2].poses
    assert last.keypoints[1, 3].tolist() == annotations[2]["keypoints"][9:11]
    assert last.area.tolist() == [a["area"] for a in annotations[1:]]


def test_a_box_becomes_its_corners_and_pixels_become_rgb(tmp_path: Path) -> None:
    sample = open_coco(tmp_path, [person(1)]).load(0)
    assert sample.poses.boxes[0].tolist() == [[1, 2], [11, 2], [1, 22], [11, 22]]
    assert sample.poses.area.tolist() == [150.5]
    assert sample.image.shape == (HEIGHT, WIDTH, 3)
    assert sample.image[0, 0].tolist() == [200, 0, 0]


def test_unlabelled_keypoints_keep_their_mark(tmp_path: Path) -> None:
    annotation = person(1, num_keypoints=16)
    annotation["keypoints"][:6] = [0, 0, 0, 5, 6, 1]
    poses = open_coco(tmp_path, [annotation]).load(0).poses
    assert poses.visibility[0, :3].tolist() == [0, 1, 2]
    assert poses.keypoints[0, 1].tolist() == [5, 6]


def test_crowds_and_people_without_keypoints_are_no_people(tmp_path: Path) -> None:
    crowd = person(2, iscrowd=1)
    dataset = open_coco(tmp_path, [person(1), crowd, without_keypoints(3), person(4)])
    poses = dataset.load(0).poses
    assert poses.keypoints[:, 0, 1].tolist() == [1, 4]
    assert poses.unlabelled.tolist() == [[[1, 2], [11, 2], [1, 22], [11, 22]]]
    # The evaluation judges them itself.
    assert [a["id"] for a in dataset.ground_truth().to_coco()["annotations"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("people", [[], [person(1, iscrowd=1)], [without_keypoints(1)]])
def test_an_image_without_people_is_not_trained_on(
    tmp_path: Path, people: list[dict[str, Any]]
) -> None:
    dataset = open_coco(tmp_path, people)
    assert dataset.labelled() == []
    assert len(dataset) == 1
    poses = dataset.load(0).poses
    assert len(poses) == 0
    assert len(poses.unlabelled) == sum(not person["iscrowd"] for person in people)


def test_images_with_people_are_trained_on(tmp_path: Path) -> None:
    write_coco(tmp_path, people=(1, 0, 2))
    assert open_dataset("coco", "train", root=tmp_path).labelled() == [0, 2]


def region(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[rows, columns] = True
    return mask


SQUARE = region(slice(5, 15), slice(10, 20))
CORNER = region(slice(25, 30), slice(0, 10))


def polygon(left: int, top: int, right: int, bottom: int) -> list[int]:
    return [left, top, right, top, right, bottom, left, bottom]


def compressed(mask: np.ndarray) -> dict[str, Any]:
    packed = rle.encode(np.asfortranarray(mask, np.uint8))
    return {"size": packed["size"], "counts": packed["counts"].decode()}


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return COCO's uncompressed form: lengths of zeros and ones, column by column."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(mask.shape), "counts": np.diff([0, *turns, mask.size]).tolist()}


@pytest.mark.parametrize(
    "outline",
    [[polygon(10, 5, 20, 15)], run_lengths(SQUARE), compressed(SQUARE)],
    ids=["polygon", "run lengths", "compressed"],
)
def test_a_crowd_is_ignored_where_it_is_outlined(tmp_path: Path, outline: Any) -> None:
    crowd = person(1, iscrowd=1, segmentation=outline)
    ignore = open_coco(tmp_path, [crowd]).load(0).ignore
    assert ignore is not None
    np.testing.assert_array_equal(ignore, SQUARE)


def test_outlines_of_several_people_without_keypoints_are_joined(tmp_path: Path) -> None:
    both = [polygon(10, 5, 20, 15), polygon(0, 25, 10, 30)]
    for people in (
        [without_keypoints(1, segmentation=both)],
        [without_keypoints(1, segmentation=both[:1]),
         person(2, iscrowd=1, segmentation=run_lengths(CORNER))],
    ):  # fmt: skip
        root = tmp_path / str(len(people))
        ignore = open_coco(root, people).load(0).ignore
        np.testing.assert_array_equal(ignore, SQUARE | CORNER)


def test_nothing_is_ignored_of_people_with_keypoints(tmp_path: Path) -> None:
    outlined = person(1, segmentation=[polygon(10, 5, 20, 15)])
    assert open_coco(tmp_path, [outlined, without_keypoints(2)]).load(0).ignore is None


@pytest.mark.parametrize(
    "outline",
    [
        [[1, 2]],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [["a"] * 6],
        "outline",
        {"size": [HEIGHT, WIDTH]},
        run_lengths(np.ones((4, 4), bool)),
    ],
)
def test_an_outline_that_cannot_be_drawn_masks_nothing_and_is_told_once(
    tmp_path: Path, outline: Any
) -> None:
    with pytest.warns(Notice, match=r"1 outlines cannot be drawn \(annotation 7\)") as told:
        dataset = open_coco(tmp_path, [person(7, iscrowd=1, segmentation=outline)])
    assert len(told) == 1
    assert dataset.load(0).ignore is None
    assert len(dataset.load(0).poses.crowds) == 1


def test_another_size_than_annotated_is_told(tmp_path: Path) -> None:
    dataset = open_coco(tmp_path, [person(1)])
    picture = np.zeros((HEIGHT, HEIGHT, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "coco" / "val2017" / "1.png"), picture)
    with pytest.raises(DataError, match=r"1\.png is 30 x 30, but its annotations are for 40 x 30"):
        dataset.load(0)
    assert dataset.load(0, pixels=False).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("pixels", [True, False])
def test_where_width_and_height_are_exchanged_the_files_own_are_taken(
    tmp_path: Path, pixels: bool
) -> None:
    dataset = open_coco(tmp_path, [person(1)])
    picture = np.zeros((WIDTH, HEIGHT, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "coco" / "val2017" / "1.png"), picture)
    with pytest.warns(Notice, match="width and height of images exchanged"):
        assert dataset.load(0, pixels=pixels).size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("field", ["width", "height"])
def test_a_missing_size_is_that_of_the_file(tmp_path: Path, field: str) -> None:
    open_coco(tmp_path, [person(1)])
    path = tmp_path / "coco" / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(path.read_text())
    del content["images"][0][field]
    path.write_text(json.dumps(content))
    dataset = open_dataset("coco", "val", root=tmp_path)
    assert dataset.load(0, pixels=False).size == dataset.load(0).size == (WIDTH, HEIGHT)


def test_an_image_entry_without_its_name_is_told(tmp_path: Path, field: str = "file_name") -> None:
    open_coco(tmp_path, [person(1)])
    path = tmp_path / "coco" / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(path.read_text())
    del content["images"][0][field]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"'{field}' of image 1"):
        open_dataset("coco", "val", root=tmp_path).load(0, pixels=False)


def test_without_pixels_no_image_is_needed(tmp_path: Path) -> None:
    crowd = person(2, iscrowd=1, segmentation=[polygon(10, 5, 20, 15)])
    dataset = open_coco(tmp_path, [person(1), crowd])
    whole = dataset.load(0)
    (tmp_path / "coco" / "val2017" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png is not there"):
        dataset.load(0)
    bare = dataset.load(0, pixels=False)
    assert bare.size == whole.size
    assert (bare.image_id, bare.name) == (whole.image_id, whole.name)
    assert bare.poses.keypoints.equal(whole.poses.keypoints)
    assert bare.poses.boxes.equal(whole.poses.boxes)


def test_another_annotation_file_replaces_the_splits_own(tmp_path: Path) -> None:
    open_coco(tmp_path, [person(1)])
    other = write(tmp_path / "other.json", [person(5), person(6)])
    dataset = open_dataset("coco", "val", root=tmp_path, annotations=other)
    assert dataset.load(0).poses.keypoints[:, 0, 1].tolist() == [5, 6]


def test_annotations_from_elsewhere_need_no_dataset_folder(tmp_path: Path) -> None:
    other = write(tmp_path / "other.json", [person(5)])
    dataset = open_dataset("coco", "val", root=tmp_path / "nowhere", annotations=other)
    assert len(dataset.load(0, pixels=False).poses) == 1
    with pytest.raises(DataError, match="nowhere"):
        dataset.load(0)


# -------------------------------------------------------------------------------------- CrowdPose


def crowdpose_file(root: Path, split: str) -> Path:
    return root / "crowdpose" / "annotations" / f"crowdpose_{split}.json"


def crowdpose_person(number: int, image_id: int = 1, **fields: Any) -> dict[str, Any]:
    annotation = person(number, image_id, keypoints=14, num_keypoints=12, **fields)
    del annotation["area"]  # the official files have none
    return annotation


def test_crowdpose_is_read_from_the_official_layout(tmp_path: Path) -> None:
    write(crowdpose_file(tmp_path, "test"), [crowdpose_person(1)])
    (tmp_path / "crowdpose" / "images").mkdir()
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "crowdpose" / "images" / "1.png"), picture)
    dataset = open_dataset("crowdpose", "test", root=tmp_path)
    assert (dataset.name, dataset.split, dataset.skeleton) == ("crowdpose", "test", CROWDPOSE)
    poses = dataset.load(0).poses
    assert poses.keypoints.shape == (1, 14, 2)


def test_the_area_in_crowdpose_is_a_share_of_the_box(tmp_path: Path) -> None:
    people = [
        crowdpose_person(1, bbox=[0, 0, 10.3, 20.7]),
        {**crowdpose_person(2, bbox=[3, 4, 5, 6]), "area": 1000.0},
    ]
    write(crowdpose_file(tmp_path, "val"), people)
    poses = open_dataset("crowdpose", "val", root=tmp_path).load(0, pixels=False).poses
    # To the last bit, by the published loaders' order of the factors.
    assert poses.area.tolist() == [0.53 * 10.3 * 20.7, 0.53 * 5 * 6]
    assert 0.53 * 10.3 * 20.7 != 0.53 * (10.3 * 20.7)


def test_head_and_neck_alone_make_no_person(tmp_path: Path) -> None:
    bodiless = crowdpose_person(1)
    bodiless["keypoints"] = [0] * 36 + [5, 5, 2, 5, 8, 2]
    del bodiless["num_keypoints"]
    write(crowdpose_file(tmp_path, "val"), [bodiless])
    dataset = open_dataset("crowdpose", "val", root=tmp_path)
    assert dataset.labelled() == []


def test_trainval_is_made_of_train_and_val_with_ids_of_their_own(tmp_path: Path) -> None:
    write(crowdpose_file(tmp_path, "train"), [crowdpose_person(1), crowdpose_person(2)])
    write(crowdpose_file(tmp_path, "val"), [crowdpose_person(1, image_id=2)], images=(2,))
    dataset = open_dataset("crowdpose", "trainval", root=tmp_path)
    annotations = dataset.ground_truth().to_coco()["annotations"]
    assert len(dataset) == 2
    assert len({annotation["id"] for annotation in annotations}) == 3
    assert [annotation["image_id"] for annotation in annotations] == [1, 1, 2]
    assert [len(dataset.load(i, pixels=False).poses) for i in range(2)] == [2, 1]
    assert dataset.labelled() == [0, 1]


def test_a_trainval_file_is_read_where_there_is_one(tmp_path: Path) -> None:
    for split, people in (("train", 1), ("val", 1), ("trainval", 3)):
        annotations = [crowdpose_person(number) for number in range(1, people + 1)]
        write(crowdpose_file(tmp_path, split), annotations)
    dataset = open_dataset("crowdpose", "trainval", root=tmp_path)
    assert len(dataset.load(0, pixels=False).poses) == 3


def test_half_of_trainval_is_not_enough(tmp_path: Path) -> None:
    write(crowdpose_file(tmp_path, "train"), [crowdpose_person(1)])
    with pytest.raises(DataError, match=r"crowdpose_val\.json is not there"):
        open_dataset("crowdpose", "trainval", root=tmp_path)


# --------------------------------------------------------------------------------- opening by name


@pytest.mark.parametrize("name", ["coco", "crowdpose"])
def test_a_missing_folder_is_told_with_layout_and_source(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        DataError, match=rf"{name} is not there: get {name} from https://.*/\*\.jpg"
    ):
        open_dataset(name, "train", root=tmp_path)


def test_an_unknown_dataset_or_split_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean crowdpose"):
        open_dataset("crowdpos", "train", root=tmp_path)
    with pytest.raises(UsageError, match="Did you mean trainval"):
        open_dataset("crowdpose", "trainvall", root=tmp_path)


def test_the_data_root_is_named_else_in_the_environment_else_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("POSEBENCH_DATA", raising=False)
    assert data_root(None) == Path("data")
    monkeypatch.setenv("POSEBENCH_DATA", "/datasets")
    assert data_root(None) == Path("/datasets")
    assert data_root(Path("mine")) == Path("mine")


# ------------------------------------------------------------------------------------- real images


@pytest.mark.parametrize("split", ["train", "val"])
def test_real_coco_is_read_whole(shared_data: Path, split: str) -> None:
    dataset = open_dataset("coco", split, root=shared_data)
    people = 0
    for index in range(len(dataset)):
        sample = dataset.load(index)
        people += len(sample.poses)
        assert (len(sample.poses) > 0) == (index in dataset.labelled())
    assert people == {"train": 58, "val": 63}[split]


def test_real_crowdpose_has_no_area_and_counts_no_head(shared_data: Path) -> None:
    dataset = open_dataset("crowdpose", "val", root=shared_data)
    people = [len(dataset.load(index, pixels=False).poses) for index in range(len(dataset))]
    assert (len(people), sum(people)) == (2000, 7074)
