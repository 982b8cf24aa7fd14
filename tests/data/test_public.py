"""The public datasets of the package, as miniatures in the layouts of their downloads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from posebench.data import LAYOUTS, like_dataset, open_dataset
from posebench.data.doctor import examine
from posebench.data.public import PublicLayout, public_layouts
from posebench.errors import DataError, UsageError
from posebench.skeleton import COCO, CROWDPOSE, named_skeletons
from tests.cli.command import TINY, only, run
from tests.data import test_aic

pytestmark = pytest.mark.filterwarnings("ignore::posebench.errors.Notice")

PLACES = [(float(4 + 2 * k), float(50 - k)) for k in range(26)]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((60, 80, 3), 90, np.uint8))


def row(count: int) -> list[float]:
    return [value for x, y in PLACES[:count] for value in (x, y, 2)]


def write(path: Path, name: str, count: int, **fields: Any) -> dict[str, Any]:
    """Write a file of one image with one annotation, and return its content."""
    annotation: dict[str, Any] = {
        "id": 1, "image_id": 7, "category_id": 1, "keypoints": row(count), "iscrowd": 0,
        "num_keypoints": count, "bbox": [2, 10, 60, 45], "area": 900,
    }  # fmt: skip
    category = fields.pop("category", {"id": 1, "name": "person"})
    categories = fields.pop("categories", [category])
    content = {
        "images": [{"id": 7, "file_name": name, "width": 80, "height": 60}],
        "annotations": [{**annotation, **fields}],
        "categories": categories,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return content


def human_art(root: Path, prefix: str = "HumanArt/") -> None:
    """COCO's names in the category, and a second list of keypoints in each annotation."""
    name = f"{prefix}images/real_human/dance/000.jpg"
    picture(root / "HumanArt" / "images" / "real_human" / "dance" / "000.jpg")
    for part in ("training", "validation"):
        write(
            root / "HumanArt" / "annotations" / f"{part}_humanart.json", name, 17,
            keypoints_21=row(21), num_keypoints_21=21, self_contact=[1, 2],
            category={"id": 1, "name": "person", "keypoints": [*COCO.keypoints]},
        )  # fmt: skip


def exlpose(root: Path) -> None:
    for part, folder in (("train_LL", "dark"), ("train_WL", "bright"), ("test_LL-A", "dark")):
        picture(root / "ExLPose" / folder / f"{part}.png")
        path = root / "ExLPose" / "annotations" / "ExLPose" / f"ExLPose_{part}.json"
        write(path, f"{part}.png", 14)


def ap10k(root: Path) -> None:
    """Two species with the same keypoints, and numbers beyond 1."""
    picture(root / "ap10k" / "data" / "000.jpg")
    names = [*named_skeletons()["ap10k"].keypoints]
    species = [{"id": 1, "name": "antelope", "keypoints": names}]
    species.append({"id": 54, "name": "zebra", "keypoints": names})
    for part in ("train", "val", "test"):
        for number in (1, 2, 3):
            path = root / "ap10k" / "annotations" / f"ap10k-{part}-split{number}.json"
            write(path, "000.jpg", 17, category_id=54, categories=species)


def halpe26(root: Path) -> None:
    """136 keypoints whose names are not told; images of COCO's folder."""
    picture(root / "halpe" / "images" / "train2015" / "HICO_train2015_00000001.jpg")
    picture(root / "coco" / "val2017" / "000000000139.jpg")
    rest = [9, 9, 2] * 110
    for part, name in (("train", "HICO_train2015_00000001"), ("val", "000000000139")):
        path = root / "halpe" / "annotations" / f"halpe_{part}_v1.json"
        write(path, f"{name}.jpg", 26, keypoints=row(26) + rest)


def aic(root: Path) -> None:
    for part in ("train", "validation"):
        folder = root / "aic" / f"ai_challenger_keypoint_{part}_20170911"
        test_aic.write(
            folder / f"keypoint_{part}_annotations_20170909.json", [test_aic.entry("b2")]
        )
        images = folder / f"keypoint_{part}_images_20170909"
        images.rename(folder / f"keypoint_{part}_images_20170911")


@dataclass(frozen=True)
class Mini:
    make: Callable[[Path], None]
    folder: str  # below the data root
    splits: tuple[str, ...]  # that the miniature has
    name: str  # of the image of the split that is evaluated
    category: int  # as in the file


MINIS = {
    "human_art": Mini(
        human_art, "HumanArt", ("train", "val"), "HumanArt/images/real_human/dance/000.jpg", 1
    ),
    "human_art_21": Mini(
        human_art, "HumanArt", ("train", "val"), "HumanArt/images/real_human/dance/000.jpg", 1
    ),
    "exlpose": Mini(
        exlpose, "ExLPose", ("train-LL", "train-WL", "test-LL-A"), "test_LL-A.png", 1
    ),
    "ap10k": Mini(
        ap10k, "ap10k",
        tuple(f"{p}{n}" for n in ("", "-split2", "-split3") for p in ("train", "val", "test")),
        "000.jpg", 54,
    ),
    "halpe26": Mini(halpe26, "halpe", ("train", "val"), "000000000139.jpg", 1),
    "aic": Mini(aic, "aic", ("train", "val"), "b2.jpg", 1),
}  # fmt: skip


def test_every_public_dataset_has_a_miniature_here() -> None:
    assert MINIS.keys() == {layout.name for layout in public_layouts()}
    assert MINIS.keys() == {n for n, one in LAYOUTS.items() if isinstance(one, PublicLayout)}


@pytest.mark.parametrize("name", MINIS)
def test_each_is_opened_by_its_name(tmp_path: Path, name: str) -> None:
    mini, layout = MINIS[name], LAYOUTS[name]
    mini.make(tmp_path)
    for split in mini.splits:
        dataset = open_dataset(name, split, root=tmp_path)
        assert (dataset.name, dataset.split, dataset.reference) == (name, split, name)
        sample = dataset.load(0)
        assert len(sample.poses) == 1
        assert (sample.poses.visibility > 0).sum() >= 13
        assert dataset.skeleton == layout.protocol.skeleton
    evaluated = open_dataset(name, layout.eval_split, root=tmp_path)
    assert evaluated.load(0).name == mini.name
    assert set(mini.splits) <= set(layout.splits)
    assert {layout.train_split, layout.eval_split} <= set(mini.splits)


@pytest.mark.parametrize("name", MINIS)
def test_each_is_sound_to_the_doctor_by_its_folder(tmp_path: Path, name: str) -> None:
    mini = MINIS[name]
    mini.make(tmp_path)
    findings = examine(tmp_path / mini.folder, LAYOUTS[name])
    assert [one for one in findings if one.severity == "wrong"] == []
    assert {one.split for one in findings} == set(mini.splits)
    result = run("data", "doctor", tmp_path / mini.folder, "--json")
    assert result.code == 0, result.err
    named = {r["dataset"] for r in json.loads(result.out)["rows"]}
    assert named == {"human_art" if name == "human_art_21" else name}


@pytest.mark.parametrize("name", MINIS)
def test_perfect_predictions_of_each_score_100(tmp_path: Path, name: str) -> None:
    mini = MINIS[name]
    mini.make(tmp_path)
    truth = open_dataset(name, LAYOUTS[name].eval_split, root=tmp_path).ground_truth()
    results = [
        {
            "image_id": truth.image_id(0), "category_id": mini.category, "score": 0.9,
            "keypoints": truth.keypoints[0].ravel().tolist(),
        }
    ]  # fmt: skip
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    scored = run(
        "eval", "--predictions", path, "--dataset", name, "--data-root", tmp_path, "--json",
        "--runs", tmp_path / "runs",
    )  # fmt: skip
    assert scored.code == 0, scored.err
    values = {one["metric"]: one["value"] for one in json.loads(scored.out)["rows"]}
    assert values["AP (merged)" if name == "ap10k" else "AP"] == 100
    assert ("AP (merged)" in values) == (name == "ap10k")
    parts = [key for key in values if key.startswith("AP/")]
    assert len(parts) == len(truth.skeleton)


def test_what_is_read_of_each() -> None:
    area = {name: LAYOUTS[name].reading.area for name in MINIS}
    assert {name for name in MINIS if area[name] == 0.53} == {"exlpose", "aic"}
    assert LAYOUTS["exlpose"].skeleton is CROWDPOSE
    assert LAYOUTS["human_art"].skeleton is COCO
    assert like_dataset("human_art") == "coco"
    assert like_dataset("exlpose") == "crowdpose"
    assert like_dataset("ap10k") == "coco"


def test_each_says_where_its_sigmas_come_from_and_its_licence(tmp_path: Path) -> None:
    for name, mini in MINIS.items():
        mini.make(tmp_path / name)
        facts = open_dataset(name, LAYOUTS[name].eval_split, root=tmp_path / name).facts
        assert facts["sigmas"].split()[0].strip(":,") in ("official", "copied", "guessed")
        assert facts["licence"]
        assert facts["source"].startswith("https://")
        assert ("area" in facts) == (name in ("exlpose", "aic"))


def test_human_art_names_its_images_from_either_folder(tmp_path: Path) -> None:
    human_art(tmp_path, prefix="")
    for name, count in (("human_art", 17), ("human_art_21", 21)):
        poses = open_dataset(name, "val", root=tmp_path).load(0).poses
        assert poses.keypoints.shape == (1, count, 2)
        assert poses.keypoints[0].tolist() == [list(place) for place in PLACES[:count]]


@pytest.mark.parametrize("named", [True, False])
def test_halpes_first_26_keypoints_are_taken_whatever_they_are_called(
    tmp_path: Path, named: bool
) -> None:
    halpe26(tmp_path)
    path = tmp_path / "halpe" / "annotations" / "halpe_val_v1.json"
    if named:
        content = json.loads(path.read_text())
        names = ["Nose", "LEye", "REye", *(f"point {k}" for k in range(3, 136))]
        content["categories"][0]["keypoints"] = names
        path.write_text(json.dumps(content))
    poses = open_dataset("halpe26", "val", root=tmp_path).load(0).poses
    assert poses.keypoints[0].tolist() == [list(place) for place in PLACES]
    if named:  # names of other keypoints contradict the numbers
        content["categories"][0]["keypoints"][1:3] = ["REye", "LEye"]
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match="Expected the 26 keypoints of halpe26"):
            open_dataset("halpe26", "val", root=tmp_path)


def test_ap10k_has_two_numbers(tmp_path: Path) -> None:
    ap10k(tmp_path)
    path = tmp_path / "ap10k" / "annotations" / "ap10k-val-split1.json"
    content = json.loads(path.read_text())
    [zebra] = content["annotations"]
    content["images"].append({**content["images"][0], "id": 8, "file_name": "001.jpg"})
    content["annotations"].append({**zebra, "id": 2, "image_id": 8, "category_id": 1})
    path.write_text(json.dumps(content))
    results = [
        {"image_id": 7, "category_id": 54, "keypoints": row(17), "score": 0.9},
        {"image_id": 8, "category_id": 54, "keypoints": row(17), "score": 0.8},
        {"image_id": 8, "category_id": 1, "keypoints": [999, 999, 1] * 17, "score": 0.7},
    ]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    where = ("--dataset", "ap10k", "--data-root", tmp_path, "--runs", tmp_path / "runs")
    scored = run("eval", "--predictions", file, *where)
    assert scored.code == 0, scored.err
    lines = [" ".join(line.split()) for line in scored.out.splitlines()]
    rows = [line.strip("│ ").split(" │ ")[:2] for line in lines]
    assert ["mean", "50.0"] in rows
    assert ["merged", "100.0"] in rows
    assert ["antelope", "0.0"] in rows
    assert ["zebra", "100.0"] in rows
    assert any(line.startswith("categories: 2, AP is their mean") for line in lines)
    assert any(line.startswith("sigmas: guessed") for line in lines)


def test_a_missing_folder_or_file_is_told_with_layout_and_source(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"HumanArt is not there: get human_art from https://.*HumanArt.*lay it out as "
        r".*validation.*contains HumanArt/ with --data-root",
    ):
        open_dataset("human_art", "val", root=tmp_path)
    exlpose(tmp_path)
    with pytest.raises(DataError, match=r"ExLPose_test_WL\.json is not there: exlpose is expected"):
        open_dataset("exlpose", "test-WL", root=tmp_path)
    with pytest.raises(UsageError, match=r"split of exlpose .*Did you mean test-WL"):
        open_dataset("exlpose", "test_WL", root=tmp_path)


def test_the_list_shows_which_are_here(tmp_path: Path) -> None:
    exlpose(tmp_path)
    rows = json.loads(run("data", "list", "--data-root", tmp_path, "--json").out)["rows"]
    here = {one["dataset"]: one["here"] for one in rows if one["dataset"] in MINIS}
    assert here == {name: str(name == "exlpose").lower() for name in MINIS}
    assert all(one["source"].startswith("http") for one in rows if one["dataset"] in MINIS)


def test_recipes_of_the_papers_are_adapted_to_them(tmp_path: Path) -> None:
    ap10k(tmp_path)
    where = ("--data-root", tmp_path, "--runs", tmp_path / "runs")
    trained = run("train", "cid_tiny", "--dataset", "ap10k", *where, *TINY)
    assert trained.code == 0, trained.err
    folder = only(tmp_path, "runs/train/cid_tiny_ap10k_*")
    scored = run("eval", folder, *where, "--json")  # the run knows its dataset
    assert scored.code == 0, scored.err
    metrics = {one["metric"] for one in json.loads(scored.out)["rows"]}
    assert {f"AP/{name}" for name in named_skeletons()["ap10k"].keypoints} <= metrics
