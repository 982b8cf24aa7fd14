"""What `data convert` writes opens as the source does, and nothing is written that is half-done."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from posebench.data import PoseDataset, find_layout, open_dataset
from posebench.data.convert import convert, source_layout
from posebench.data.doctor import examine
from posebench.errors import DataError, Notice, UsageError
from posebench.skeleton import MPII
from tests.cli.command import run
from tests.data import test_aic, test_mpii
from tests.data.test_described import YAML, cows, picture, write, write_ultralytics

LINE = "0 0.5 0.5 0.5 0.8 0.25 0.5 2 0.5 0.1 1 0 0 0\n0 0.3 0.3 0.1 0.2 0.31 0.3 2 0.3 0.3 2 0 0 0"

pytestmark = pytest.mark.filterwarnings("ignore::posebench.errors.Notice")


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    write_ultralytics(tmp_path / "yolo", YAML, LINE)
    return tmp_path / "yolo"


def assert_same(first: PoseDataset, second: PoseDataset) -> None:
    """Check that two datasets have the same images with the same people, to the bit."""
    assert first.skeleton == second.skeleton
    assert len(first) == len(second) > 0
    assert first.ground_truth().categories == second.ground_truth().categories
    for index in range(len(first)):
        one, other = first.load(index), second.load(index)
        assert (one.image_id, one.name, one.size) == (other.image_id, other.name, other.size)
        for name in ("keypoints", "visibility", "boxes", "area", "unlabelled"):
            assert torch.equal(getattr(one.poses, name), getattr(other.poses, name))


def sizes(path: Path) -> list[tuple[int, int]]:
    return [(one["width"], one["height"]) for one in json.loads(path.read_text())["images"]]


def assert_sound(folder: Path) -> None:
    """Check that the doctor finds no error in a converted folder."""
    wrong = [f for f in examine(folder, find_layout(str(folder))) if f.severity == "wrong"]
    assert wrong == []


def test_ultralytics_becomes_a_folder_with_the_same_people(yolo: Path, tmp_path: Path) -> None:
    out = tmp_path / "coco_format"
    written = convert(source_layout(yolo), out)
    assert [(one.path.name, one.images, one.people) for one in written] == [
        ("train.json", 1, 2), ("val.json", 1, 2),
    ]  # fmt: skip
    assert sizes(out / "annotations" / "val.json") == [(40, 30)]
    for split in ("train", "val"):
        assert_same(open_dataset(str(yolo), split), open_dataset(str(out), split))
    assert open_dataset(str(out), "val").skeleton.flip_index == (0, 2, 1)
    assert_sound(out)


def test_mpii_becomes_a_folder_with_heads_and_sizes(tmp_path: Path) -> None:
    people = [test_mpii.entry("017.jpg"), test_mpii.entry("005.jpg", missing=(0, 9))]
    for split in ("train", "val"):
        test_mpii.write(tmp_path, f"mpii_{split}.json", people, ("017.jpg", "005.jpg"))
    test_mpii.write_heads(tmp_path, 2)
    out = tmp_path / "out"
    layout = source_layout(tmp_path / "mpii")
    assert layout.splits == ("train", "val")  # and not the file of head boxes
    convert(layout, out)
    assert sizes(out / "annotations" / "val.json") == [(160, 120)] * 2
    for split in ("train", "val"):
        own = open_dataset("mpii", split, root=tmp_path)
        again = open_dataset(str(out), split)
        assert_same(own, again)
        assert own.protocol == again.protocol
        assert (
            own.ground_truth().to_coco()["annotations"]
            == (again.ground_truth().to_coco()["annotations"])
        )
    assert open_dataset(str(out), "val").skeleton is MPII
    assert_sound(out)


def test_a_folder_of_another_format_is_a_dataset_as_it_is(tmp_path: Path) -> None:
    test_mpii.write(tmp_path, "people.json", [test_mpii.entry("1.jpg")], ("1.jpg",))
    dataset = open_dataset(str(tmp_path / "mpii"), "people")
    assert dataset.skeleton is MPII
    assert dataset.load(0).image.shape == (120, 160, 3)


def test_ai_challenger_becomes_a_file(tmp_path: Path) -> None:
    source = test_aic.write(
        tmp_path / "keypoint_validation_annotations_20170911.json",
        [test_aic.entry("b2"), test_aic.entry("a1")],
    )
    images = tmp_path / "keypoint_validation_images_20170911"
    out = images / "val.json"
    convert(source_layout(source), out)
    assert sizes(out) == [(40, 60)] * 2
    assert_same(open_dataset(str(source), "all"), open_dataset(str(out), "all"))
    assert_sound(out)


def test_a_description_is_converted_as_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "train.json", cows(), tmp_path / "frames")
    path = tmp_path / "dataset.toml"
    path.write_text(
        'name = "cows"\n[splits.train]\nimages = "frames"\nannotations = "train.json"\n'
        '[read]\nselect = ["nose", "withers"]\n[origin]\nlicence = "internal"\n'
    )
    out = tmp_path / "out"
    convert(source_layout(path), out)
    assert_same(open_dataset(str(path), "train"), open_dataset(str(out), "train"))
    assert 'licence" = "internal"' in (out / "dataset.toml").read_text()


def test_nothing_is_replaced_or_left_half_done(yolo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (yolo / "labels" / "val" / "a.txt").write_text("0 0.5 0.5")
    with pytest.raises(DataError, match=r"14 finite numbers .*a\.txt"):
        convert(source_layout(yolo), out)
    assert not out.exists()
    (yolo / "labels" / "val" / "a.txt").write_text(LINE)
    convert(source_layout(yolo), out)
    before = (out / "dataset.toml").read_text()
    with pytest.raises(UsageError, match=r"train\.json is there already.*--overwrite"):
        convert(source_layout(yolo), out)
    picture(yolo / "images" / "val" / "b.png")
    convert(source_layout(yolo), out, overwrite=True)
    assert len(sizes(out / "annotations" / "val.json")) == 2
    assert (out / "dataset.toml").read_text() == before
    assert sorted(path.name for path in out.rglob("*")) == [
        "annotations", "dataset.toml", "train.json", "val.json",
    ]  # fmt: skip


def test_images_that_are_missing_are_counted_or_refused(tmp_path: Path) -> None:
    people = [test_mpii.entry("1.jpg"), test_mpii.entry("2.jpg")]
    path = test_mpii.write(tmp_path, "mpii_val.json", people, ("1.jpg",))
    images = tmp_path / "mpii" / "images"
    with pytest.warns(Notice, match=r"1 of 2 images in .* cannot be read, the first is 2\.jpg"):
        convert(source_layout(path, images=images), tmp_path / "val.json")
    assert sizes(tmp_path / "val.json") == [(160, 120), (0, 0)]
    with pytest.raises(DataError, match=r"none of the 2 can be read.*--images"):
        convert(source_layout(path, images=tmp_path), tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere",), 3, "nothing is there"),
        (("yolo", "--format", "yolov8"), 2, "no format to convert from named 'yolov8'"),
        (("yolo", "--split", "vall"), 2, "Did you mean val?"),
        (("yolo", "--output", "one.json"), 2, "splits train, val, and one.json holds one"),
        (("yolo", "--images", "yolo"), 2, "leave out --images"),
        (("coco.json",), 2, "is in COCO's format already"),
        (("list.json",), 3, "in none of their formats. If it is in one of them, name it with"),
        (("empty",), 3, "found none. Name the file itself"),
        (("list.json", "--format", "aic"), 3, "keypoint_annotations in image 1"),
    ],
)
def test_mistakes_are_one_sentence(
    yolo: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(yolo.parent)
    Path("coco.json").write_text(json.dumps(cows()))
    Path("list.json").write_text("[1]")
    Path("empty").mkdir()
    output = () if "--output" in words else ("--output", "out")
    result = run("data", "convert", *words, *output)
    assert (result.code, message in " ".join(result.err.split())) == (code, True), result.err
    assert not Path("out").exists()


def test_the_command_says_what_it_wrote_and_how_to_use_it(
    yolo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(yolo.parent)
    result = run("data", "convert", "yolo/data.yaml", "--output", "out")
    assert result.code == 0, result.err
    assert "Wrote out/annotations/train.json: 1 image with 2 labelled people." in result.err
    assert "--dataset ./out" in result.err
    assert run("data", "doctor", "out").code == 0
    assert run("eval", "cid_tiny", "--oracle", "--dataset", "./out").code == 0
    shutil.copytree("yolo", "my yolo")
    single = run("data", "convert", "my yolo", "--output", "far/val.json", "--split", "val")
    there = yolo.parent / "my yolo" / "images" / "val"
    assert single.err.endswith(f"--dataset far/val.json --images '{there}'\n")
    words = shlex.split(single.err.split("Use it with ")[1])
    assert run("eval", "cid_tiny", "--oracle", *words).code == 0
    near = run("data", "convert", "yolo", "--output", "yolo/images/val.json", "--split", "val")
    assert near.err.endswith("--dataset yolo/images/val.json\n")
    described = run("data", "describe", "yolo")
    assert (described.code, "data convert" in described.err) == (2, True)
