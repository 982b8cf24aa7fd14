"""Datasets that users describe, or whose folders are recognised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from posebench.data import choose_files, find_layout, like_dataset, open_dataset
from posebench.data.described import describe_path
from posebench.data.describing import written_description
from posebench.data.limited import FirstImages
from posebench.errors import DataError, PosebenchError, UsageError
from posebench.skeleton import COCO, MPII
from tests.data import test_aic

COW = ("nose", "L_ear", "R_ear", "withers", "tail_base")
PLACES = [(8, 8), (5, 5), (12, 5), (20, 10), (36, 12)]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((30, 40, 3), 90, np.uint8))


def cows(names: tuple[str, ...] = COW, images: tuple[str, ...] = ("1.png",)) -> dict[str, Any]:
    """Return a file with a cow of five keypoints in each image, as SLEAP writes it."""
    row = [value for place in PLACES[: len(names)] for value in (*place, 2)]
    return {
        "images": [
            {"id": number, "file_name": name, "width": 40, "height": 30}
            for number, name in enumerate(images, start=1)
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "keypoints": row, "area": 0}
            for number in range(1, len(images) + 1)
        ],
        "categories": [{"id": 1, "name": "cow", "keypoints": list(names), "skeleton": [[1, 2]]}],
    }


def write(path: Path, content: dict[str, Any], folder: Path | None = None) -> Path:
    """Write a file, and its images into a folder, by default the file's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    for image in content["images"]:
        picture((folder or path.parent) / image["file_name"])
    return path


BARN = """
format = 1
name = "barn_cows"
[splits.train]
images = "frames"
annotations = "train.json"
[splits.val]
images = "frames"
annotations = ["val.json", "more.json"]
[read]
area = 0.53
box = "keypoints"
[skeleton]
keypoints = ["nose", "L_ear", "R_ear", "withers", "tail_base"]
pairs = [["L_ear", "R_ear"]]
limbs = [["nose", "L_ear"], ["nose", "R_ear"], ["nose", "withers"], ["withers", "tail_base"]]
sigmas = { nose = 0.03, L_ear = 0.04, R_ear = 0.04, default = 0.08 }
[protocol]
kind = "oks"
[origin]
licence = "internal"
"""


@pytest.fixture
def barn(tmp_path: Path) -> Path:
    for name, image in (("train", "1.png"), ("val", "2.png"), ("more", "3.png")):
        write(tmp_path / f"{name}.json", cows(images=(image,)), tmp_path / "frames")
    path = tmp_path / "cows.toml"
    path.write_text(BARN)
    return path


pytestmark = pytest.mark.filterwarnings("ignore::posebench.errors.Notice")


def test_a_description_is_opened_by_its_path(barn: Path) -> None:
    dataset = open_dataset(str(barn), "train")
    assert (dataset.name, dataset.split, dataset.reference) == ("barn_cows", "train", str(barn))
    assert dataset.skeleton.keypoints == COW
    assert dataset.skeleton.flip_index == (0, 2, 1, 3, 4)
    assert dataset.skeleton.sigmas == (0.03, 0.04, 0.04, 0.08, 0.08)
    sample = dataset.load(0)
    assert sample.poses.keypoints[0].tolist() == [list(place) for place in PLACES]
    # The hull from (5, 5) to (36, 12), grown by a tenth of its 31 pixels; 0.53 of its area.
    assert sample.poses.boxes[0, 0].tolist() == pytest.approx([5 - 3.1, 5 - 3.1])
    assert sample.poses.area.tolist() == pytest.approx([0.53 * (31 + 6.2) * (7 + 6.2)])
    assert like_dataset(str(barn)) == "coco"


def test_what_results_depend_on_is_said_in_words(barn: Path) -> None:
    assert open_dataset(str(barn), "train").facts == {
        "sigmas": "3 given, 2 default 0.08", "area": "0.53 of the box", "licence": "internal",
    }  # fmt: skip
    barn.write_text(
        BARN.replace(
            "{ nose = 0.03, L_ear = 0.04, R_ear = 0.04, default = 0.08 }",
            "[0.03, 0.04, 0.04, 0.08, 0.08]",
        )
    )
    assert open_dataset(str(barn), "val").facts["sigmas"] == "5 given"
    text = BARN.replace("sigmas = { nose = 0.03, L_ear = 0.04, R_ear = 0.04, default = 0.08 }", "")
    barn.write_text(text.replace("area = 0.53", 'area = "box"').replace("[origin]", ""))
    barn.write_text(barn.read_text().replace('licence = "internal"', ""))
    assert open_dataset(str(barn), "train").facts == {
        "sigmas": "3 of COCO, 2 default 0.05", "area": "the box",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("areas", "said"),
    [
        ((50.0, 60.0), None),
        ((0, 60.0), "0.53 of the box of 1 people, else annotated"),
        ((0, 0), "0.53 of the box"),
    ],
)
def test_a_derived_area_is_a_fact(tmp_path: Path, areas: tuple[float, ...], said: str) -> None:
    content = cows(images=("1.png", "2.png"))
    for annotation, area in zip(content["annotations"], areas, strict=True):
        annotation["area"] = area
    dataset = open_dataset(str(write(tmp_path / "cows.json", content)), "all")
    assert dataset.facts.get("area") == said
    assert FirstImages(dataset, 1).facts == dataset.facts


def test_several_files_are_one_split_with_ids_of_their_own(barn: Path) -> None:
    dataset = open_dataset(str(barn), "val")
    assert [dataset.load(index).name for index in range(len(dataset))] == ["2.png", "3.png"]
    assert len({dataset.load(index).image_id for index in range(2)}) == 2


def test_another_root_and_another_file_can_be_given(barn: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write(other / "train.json", cows(images=("9.png",)), other / "frames")
    assert open_dataset(str(barn), "train", root=other).load(0).name == "9.png"
    single = write(tmp_path / "single.json", cows(images=("7.png",)), tmp_path / "frames")
    assert open_dataset(str(barn), "train", annotations=single).load(0).name == "7.png"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "of format 2"),
        ('name = "barn_cows"', 'name = "Barn Cows"', "small letters, digits and _"),
        ('name = "barn_cows"', 'name = "coco"', "none of coco"),
        ('name = "barn_cows"', "", "Expected 'name'"),
        ("[splits.train]", "[split.train]", "no key 'split'"),
        ('images = "frames"', 'image = "frames"', "no key 'image' .*Did you mean images"),
        ("area = 0.53", 'area = "half"', "a share of the box"),
        ('box = "keypoints"', 'box = "hull"', "one of auto, annotated, keypoints"),
        ('kind = "oks"', 'categories = "apart"', "one of merged, separate as categories"),
        ('kind = "oks"', 'kind = "mpii"\ncategories = "separate"', "merged with the kind mpii"),
        ('kind = "oks"', 'kind = "coco"', "one of oks, crowdpose, mpii"),
        ("area = 0.53", "visibility = { 3 = 7 }", "flags and what they mean"),
        ("default = 0.08", "default = 0.8", "above 0 and below 0"),
        ("[read]", "[reading]", "no key 'reading'.*Did you mean read"),
        ('"val.json"', '"nowhere.json"', "nowhere.json"),
    ],
)
def test_mistakes_in_a_description_are_named(barn: Path, old: str, new: str, message: str) -> None:
    barn.write_text(BARN.replace(old, new))
    with pytest.raises(PosebenchError, match=message):
        open_dataset(str(barn), "val")


def test_images_and_files_can_be_patterns_and_lists(barn: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        part = write(
            tmp_path / "parts" / f"part{number}.json",
            cows(images=(f"p{number}.png",)),
            tmp_path / "takes" / "take 1",
        )
        assert part.is_file()
    picture(tmp_path / "takes" / "take 0" / "other.png")
    text = BARN.replace('"train.json"', '"parts/part*.json"')
    barn.write_text(text.replace('images = "frames"', 'images = ["nowhere", "takes/take *"]', 1))
    dataset = open_dataset(str(barn), "train")
    assert [dataset.load(index).name for index in range(2)] == ["p1.png", "p2.png"]
    barn.write_text(BARN.replace('"train.json"', '"parts/none*.json"'))
    with pytest.raises(DataError, match=r"annotation file at .*none\*\.json, but found nothing"):
        open_dataset(str(barn), "train")


def test_keypoints_of_another_field_need_not_have_names(tmp_path: Path) -> None:
    content = cows(COW[:2])
    row = content["annotations"][0]["keypoints"]
    content["annotations"][0]["more"] = [*row, 20, 10, 2]
    write(tmp_path / "a.json", content)
    path = tmp_path / "dataset.toml"
    path.write_text(
        'name = "cows"\n[splits.all]\nannotations = "a.json"\n[read]\nkeypoints_field = "more"\n'
        '[skeleton]\nkeypoints = ["nose", "L_ear", "withers"]\npairs = []\n'
    )
    poses = open_dataset(str(path), "all").load(0).poses
    assert poses.keypoints[0].tolist() == [[8, 8], [5, 5], [20, 10]]
    path.write_text(path.read_text().replace('"more"', '"moar"'))
    with pytest.raises(DataError, match=r"'moar' \(`keypoints_field`.*keypoints, area, more\."):
        open_dataset(str(path), "all")


@pytest.mark.parametrize("names", [(), ("a", "b", "c", "d", "e")])
def test_keypoints_are_selected_by_number(tmp_path: Path, names: tuple[str, ...]) -> None:
    content = cows()
    if names:
        content["categories"][0]["keypoints"] = list(names)
    else:
        del content["categories"][0]["keypoints"]
    write(tmp_path / "a.json", content)
    path = tmp_path / "dataset.toml"
    text = (
        'name = "cows"\n[splits.all]\nannotations = "a.json"\n[read]\nselect = [3, 0]\n'
        '[skeleton]\nkeypoints = ["withers", "nose"]\npairs = []\n'
    )
    path.write_text(text)
    poses = open_dataset(str(path), "all").load(0).poses
    assert poses.keypoints[0].tolist() == [list(PLACES[3]), list(PLACES[0])]
    path.write_text(text.replace("[3, 0]", "[7, 0]"))
    with pytest.raises(DataError, match=r"keypoints 0 to 4 of .* in select, but found 7"):
        open_dataset(str(path), "all")


def test_a_files_own_format_is_named(tmp_path: Path) -> None:
    test_aic.write(tmp_path / "people_annotations.json", [test_aic.entry()])
    path = tmp_path / "dataset.toml"
    path.write_text(
        'name = "crowd"\n[splits.all]\nannotations = "people_annotations.json"\n'
        '[read]\nformat = "aic"\narea = "box"\n'
    )
    poses = open_dataset(str(path), "all").load(0).poses
    assert (poses.keypoints.shape, poses.area.tolist()) == ((1, 14, 2), [20.0 * 40.0])


def test_a_bare_file_has_one_split_and_its_own_keypoints(tmp_path: Path) -> None:
    path = write(tmp_path / "labels" / "cows.json", cows(), tmp_path / "labels" / "images")
    layout = find_layout(str(path))
    assert (layout.name, layout.splits, layout.eval_split) == ("cows", ("all",), "all")
    dataset = open_dataset(str(path), "all")
    assert dataset.skeleton.keypoints == COW
    assert dataset.skeleton.limbs == ((0, 1),)
    assert dataset.load(0).image.shape == (30, 40, 3)


def test_images_that_are_not_found_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "cows.json", cows(), tmp_path / "far" / "away")
    dataset = open_dataset(str(path), "all")
    assert len(dataset.ground_truth()) == 1  # all that scoring a result file needs
    with pytest.raises(UsageError, match=r"looked for 1\.png.*--images.*dataset\.toml"):
        dataset.load(0)
    choice = choose_files(tmp_path / "far" / "away", (), None)
    assert open_dataset(str(path), "all", choice=choice).load(0).image.shape == (30, 40, 3)
    with pytest.raises(DataError, match="Expected the folder of the images"):
        choose_files(tmp_path / "nowhere", (), None)


def test_images_beside_a_file_stand_in_for_those_of_the_dataset(tmp_path: Path) -> None:
    people = cows(COCO.keypoints[:5])
    people["categories"][0]["keypoints"] = list(COCO.keypoints)
    people["annotations"][0]["keypoints"] = [8, 8, 2] * 17
    path = write(tmp_path / "mine" / "people.json", people)
    dataset = open_dataset("coco", "val", root=tmp_path / "none", annotations=path)
    assert dataset.load(0).image.shape == (30, 40, 3)


def test_a_category_is_chosen_by_name_or_id(tmp_path: Path) -> None:
    content = cows()
    other = {"id": 7, "name": "calf", "keypoints": ["nose", "tail"]}
    content["categories"].append(other)
    content["annotations"].append(
        {"id": 2, "image_id": 1, "category_id": 7, "keypoints": [8, 8, 2, 20, 9, 2]}
    )
    path = write(tmp_path / "herd.json", content)
    with pytest.raises(DataError, match="--category"):
        open_dataset(str(path), "all")
    for name in ("calf", "7"):
        found = open_dataset(str(path), "all", choice=choose_files(None, name, None))
        assert found.skeleton.keypoints == ("nose", "tail")
        assert found.ground_truth().keypoints.tolist() == [[[8, 8, 2], [20, 9, 2]]]


def test_keypoints_that_a_file_does_not_name_are_chosen(tmp_path: Path) -> None:
    content = cows()
    content["categories"] = []
    path = write(tmp_path / "cows.json", content)
    with pytest.raises(DataError, match="--skeleton"):
        open_dataset(str(path), "all")
    (tmp_path / "cow.toml").write_text(f"keypoints = {json.dumps(COW)}")
    choice = choose_files(None, (), str(tmp_path / "cow.toml"))
    assert open_dataset(str(path), "all", choice=choice).skeleton.keypoints == COW
    with pytest.raises(UsageError, match="coco has the keypoints of coco: leave out --skeleton"):
        find_layout("coco", choice)
    assert find_layout("synthetic", choose_files(None, (), "mpii")).skeleton == MPII
    with pytest.raises(UsageError, match="makes its own images"):
        find_layout("synthetic", choose_files(tmp_path, (), None))


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("000000000139.jpg", "000000000285.jpg"), [139, 285]),
        (("a.jpg", "b/7.jpg"), ["a.jpg", "b/7.jpg"]),
        (("07.jpg", "7.png"), ["07.jpg", "7.png"]),  # two images of one number
    ],
)
def test_a_folder_of_images_alone_is_a_dataset_without_annotations(
    names: tuple[str, ...], ids: list[int | str], tmp_path: Path
) -> None:
    for name in (*names, ".hidden/x.jpg"):
        picture(tmp_path / "frames" / name)
    with pytest.raises(DataError, match="--skeleton"):
        open_dataset(str(tmp_path / "frames"), "all")
    dataset = open_dataset(str(tmp_path / "frames"), "all", skeleton=COCO)
    truth = dataset.ground_truth()
    assert not truth.annotated
    assert [truth.image_id(index) for index in range(len(dataset))] == ids
    assert dataset.load(1).image.shape == (30, 40, 3)


def test_the_images_of_test_dev_are_listed_without_annotations(tmp_path: Path) -> None:
    folder = tmp_path / "coco" / "test2017"
    picture(folder / "000000000001.jpg")
    listed = tmp_path / "coco" / "annotations" / "image_info_test-dev2017.json"
    listed.parent.mkdir()
    content = {
        "images": [{"id": 1, "file_name": "000000000001.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}],
    }
    listed.write_text(json.dumps(content))
    dataset = open_dataset("coco", "test-dev", root=tmp_path)
    assert dataset.load(0).image_id == 1
    assert not dataset.ground_truth().annotated
    assert "cocodataset.org/#upload" in dataset.submission
    assert list(find_layout("coco").files_in(tmp_path / "coco")) == ["test-dev"]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train", "valid")),
        (
            ("annotations/person_keypoints_default.json",),
            ("default",),
        ),
        (
            ("annotations/cows_keypoints_train.json", "annotations/cows_keypoints_val.json"),
            ("train", "val"),
        ),
        (("labels.json",), ("labels",)),
    ],
    ids=["roboflow", "cvat", "coco", "fiftyone"],
)
def test_folders_of_exports_are_recognised(
    tmp_path: Path, files: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    folders = {"annotations": "images/{}", "labels.json": "data"}
    for file, split in zip(files, splits, strict=True):
        path = tmp_path / file
        images = folders.get(file.split("/")[0])
        place = tmp_path / images.format(split) if images else path.parent
        write(path, cows(images=(f"{split}.png",)), place)
    layout = describe_path(str(tmp_path))
    assert layout.splits == splits
    for split in splits:
        assert open_dataset(str(tmp_path), split).load(0).name == f"{split}.png"


def test_images_in_the_only_folder_that_has_them_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "cows.json", cows(), tmp_path / "some frames")
    assert open_dataset(str(path), "all").load(0).name == "1.png"
    picture(tmp_path / "other frames" / "1.png")  # now nobody knows which are meant
    with pytest.raises(UsageError, match="name their folder with --images"):
        open_dataset(str(path), "all").load(0)


def test_images_beside_the_folder_of_annotations_are_found(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "cows.json", cows(), tmp_path / "pictures")
    assert open_dataset(str(tmp_path), "cows").load(0).name == "1.png"
    picture(tmp_path / "others" / "1.png")  # now nobody knows which are meant
    with pytest.raises(UsageError, match="name their folder with --images"):
        open_dataset(str(tmp_path), "cows").load(0)


def test_images_of_another_split_with_the_same_names_are_not_taken(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "cows_val.json", cows(), tmp_path / "train2024")
    with pytest.raises(UsageError, match="name their folder with --images"):
        open_dataset(str(tmp_path), "val").load(0)
    (tmp_path / "train2024").rename(tmp_path / "val2024")
    assert open_dataset(str(tmp_path), "val").load(0).name == "1.png"


def test_an_empty_description_does_not_hide_the_files(tmp_path: Path) -> None:
    write(tmp_path / "cows.json", cows())
    (tmp_path / "dataset.toml").touch()  # as the shell does for `describe . > dataset.toml`
    assert describe_path(str(tmp_path)).splits == ("cows",)
    (tmp_path / "dataset.toml").write_text("format = 1")
    with pytest.raises(DataError, match=r"'name' in .*dataset\.toml"):
        describe_path(str(tmp_path))


def test_results_beside_the_annotations_are_no_split(tmp_path: Path) -> None:
    write(tmp_path / "cows.json", cows())
    (tmp_path / "results.json").write_text('[{"image_id": 1, "keypoints": [], "score": 0.5}]')
    assert describe_path(str(tmp_path)).splits == ("cows",)
    (tmp_path / "cows.json").unlink()
    with pytest.raises(DataError, match="It looks like a result file"):
        open_dataset(str(tmp_path), "results")


def test_a_card_beside_images_or_annotations_is_no_split(tmp_path: Path) -> None:
    card = {"card_version": 1, "evaluation": {"images": 200, "annotations": [1]}}
    (tmp_path / "card.json").write_text(json.dumps(card))
    cv2.imwrite(str(tmp_path / "1.jpg"), np.zeros((64, 64, 3), np.uint8))
    assert list(describe_path(str(tmp_path)).splits) == ["all"]
    (tmp_path / "val.json").write_text(json.dumps({"images": [], "annotations": []}))
    assert list(describe_path(str(tmp_path)).splits) == ["val"]


def test_a_folder_of_nothing_known_lists_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.toml.*Roboflow.*ultralytics.*CVAT"):
        find_layout(str(tmp_path))
    with pytest.raises(DataError, match="Nothing is there"):
        find_layout(str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match="Did you mean coco"):
        find_layout("cocos")


def test_names_of_a_built_in_set_make_it_that_set_in_its_order(tmp_path: Path) -> None:
    names = COCO.keypoints[::-1]
    row = [value for k in range(17) for value in (float(k), 1.0, 2)]
    content = cows(names)
    content["annotations"][0]["keypoints"] = row
    dataset = open_dataset(str(write(tmp_path / "people.json", content)), "all")
    assert dataset.skeleton is COCO
    assert dataset.load(0).poses.keypoints[0, :, 0].tolist() == list(range(16, -1, -1))


def test_a_written_description_reads_as_the_files_do(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path / split / "_annotations.coco.json", cows(images=(f"{split}.png",)))
    path = tmp_path / "dataset.toml"
    before = open_dataset(str(tmp_path), "valid")
    path.write_text(written_description(describe_path(str(tmp_path))))
    after = open_dataset(str(path), "valid")
    assert after.skeleton == before.skeleton
    assert after.ground_truth().to_coco() == before.ground_truth().to_coco()
    assert after.load(0).name == "valid.png"


def test_a_description_written_anew_keeps_how_the_files_are_read(tmp_path: Path) -> None:
    content = cows()
    content["annotations"][0]["keypoints"][5] = 3
    write(tmp_path / "train.json", content)
    path = tmp_path / "dataset.toml"
    path.write_text(
        'name = "cows"\n[splits.train]\nannotations = "train.json"\n[read]\n'
        'select = ["withers", "L_ear"]\nvisibility = { 3 = 0 }\n'
        'area = "box"\nbox = "keypoints"\n'
    )
    before = open_dataset(str(path), "train")
    assert before.ground_truth().keypoints[0, :, 2].tolist() == [2, 0]
    path.write_text(written_description(describe_path(str(path))))
    after = open_dataset(str(path), "train")
    assert after.skeleton == before.skeleton
    assert after.ground_truth().to_coco() == before.ground_truth().to_coco()


def test_a_written_description_is_toml_whatever_folders_are_called(tmp_path: Path) -> None:
    root = tmp_path / 'вид \N{CAMERA} "1"'
    write(root / "day 1.a" / "_annotations.coco.json", cows())
    path = tmp_path / "dataset.toml"
    path.write_text(written_description(describe_path(str(root))), encoding="utf-8")
    assert open_dataset(str(path), "day 1.a").load(0).name == "1.png"


# ------------------------------------------------------------------------------------- ultralytics


def write_ultralytics(root: Path, yaml: str, line: str) -> None:
    for split in ("train", "val"):
        picture(root / "images" / split / "a.png")
        labels = root / "labels" / split / "a.txt"
        labels.parent.mkdir(parents=True)
        labels.write_text(line)
    (root / "data.yaml").write_text(yaml)


YAML = """
path: /on/another/machine
train: images/train
val: images/val
kpt_shape: [3, 3]
flip_idx: [0, 2, 1]
names: {0: cow}
"""


def test_ultralytics_folders_are_read(tmp_path: Path) -> None:
    write_ultralytics(tmp_path, YAML, "0 0.5 0.5 0.5 0.8 0.25 0.5 2 0.5 0.1 1 0 0 0\n\n")
    dataset = open_dataset(str(tmp_path), "val")
    assert dataset.skeleton.flip_index == (0, 2, 1)
    sample = dataset.load(0)
    assert sample.poses.keypoints[0].tolist() == [[10, 15], [20, 3], [0, 0]]
    assert sample.poses.visibility[0].tolist() == [2, 1, 0]
    assert sample.poses.boxes[0, 0].tolist() == pytest.approx([10, 3])
    assert sample.poses.area.tolist() == pytest.approx([0.53 * 20 * 24])
    assert dataset.ground_truth().categories == ("cow",)


def test_two_numbers_a_keypoint_have_no_visibility(tmp_path: Path) -> None:
    yaml = YAML.replace("[3, 3]", "[3, 2]").replace("flip_idx: [0, 2, 1]\n", "")
    write_ultralytics(tmp_path, yaml, "0 0.5 0.5 0.5 0.8 0.25 0.5 0.5 0.1 0 0")
    dataset = open_dataset(str(tmp_path), "train")
    assert dataset.load(0).poses.visibility[0].tolist() == [2, 2, 0]
    assert dataset.skeleton.pairs is None  # absent: no mirroring


@pytest.mark.parametrize(
    ("more", "pairs", "sigmas"),
    [
        ("flip_idx: [0, 2, 1]", ((1, 2),), 0.05),
        ("flip_idx: [0, 1, 2]", (), 0.05),  # there is no left and right
        ("", None, 0.05),  # nobody knows: nothing is mirrored
        ("kpt_names: {0: [nose, L_ear, R_ear]}", ((1, 2),), 0.026),
        ("kpt_names: [nose, L_ear, R_ear]\nkpt_oks_sigmas: [0.1, 0.2, 0.2]", ((1, 2),), 0.1),
    ],
)
def test_ultralytics_names_pairs_and_sigmas_are_taken(
    tmp_path: Path, more: str, pairs: Any, sigmas: float
) -> None:
    yaml = YAML.replace("flip_idx: [0, 2, 1]", more)
    write_ultralytics(tmp_path, yaml, "0 0.5 0.5 0.5 0.8 0.25 0.5 2 0.5 0.1 1 0 0 0")
    skeleton = open_dataset(str(tmp_path), "val").skeleton
    assert (skeleton.pairs, skeleton.sigmas[0]) == (pairs, sigmas)
    assert skeleton.keypoints[0] == ("nose" if "kpt_names" in more else "keypoint_0")


@pytest.mark.parametrize(
    ("yaml", "line", "message"),
    [
        ("names: [cow]", "", "kpt_shape"),
        (YAML, "0 0.5 0.5 0.5 0.8 0.25 0.5 2", r"14 finite numbers .*line 1 of .*a\.txt.*found 8"),
        (YAML, "0 a b", "numbers in line 1"),
        ("[", "", "data file at"),
    ],
)
def test_wrong_ultralytics_files_are_named(
    tmp_path: Path, yaml: str, line: str, message: str
) -> None:
    write_ultralytics(tmp_path, yaml, line)
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path), "val")
