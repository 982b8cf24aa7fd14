"""Images that a phone stored turned, with annotations of the upright ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import posebench
from posebench.data import open_dataset
from posebench.data.coco import LAYOUT as COCO_LAYOUT
from posebench.data.doctor import examine
from posebench.engine import as_rgb
from posebench.errors import DataError, UsageError
from tests.builders import write_coco
from tests.cli.command import TINY, only, run


def turn(root: Path, split: str, orientation: int = 6) -> None:
    """Store a split's pictures turned, as a phone does; their annotations stay as they are."""
    annotations = root / "coco" / "annotations" / f"person_keypoints_{split}2017.json"
    content = json.loads(annotations.read_text())
    for image in content["images"]:
        path = root / "coco" / f"{split}2017" / image["file_name"]
        image["height"] = 100
        upright = np.asarray(Image.open(path))[:100]
        stored = np.rot90(upright, {6: 1, 3: 2, 8: 3}[orientation])
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(stored).save(path, exif=exif, quality=95)
    annotations.write_text(json.dumps(content))


@pytest.fixture
def phones(tmp_path: Path) -> Path:
    for split, people in (("train", (1, 2)), ("val", (1,))):
        write_coco(tmp_path, people=people, split=split)
        turn(tmp_path, split)
    return tmp_path


def test_a_picture_that_fits_upright_only_is_refused_by_name(phones: Path) -> None:
    dataset = open_dataset("coco", "train", root=phones)
    with pytest.raises(DataError, match=r"is 100 x 128.*EXIF orientation.*--exif upright"):
        dataset.load(0)


@pytest.mark.parametrize("orientation", [6, 3, 8])
def test_pictures_are_read_upright_on_request(tmp_path: Path, orientation: int) -> None:
    write_coco(tmp_path)
    before = np.asarray(Image.open(only(tmp_path, "coco/train2017/*1.jpg")))[:100].astype(int)
    turn(tmp_path, "train", orientation)
    for dataset in (
        open_dataset("coco", "train", root=tmp_path, exif="upright"),
        posebench.open_dataset("coco", "train", data_root=tmp_path, exif="upright", limit=1),
    ):
        found = dataset.load(0).image
        assert found.shape == (100, 128, 3)
        assert np.abs(found - before).mean() < 8  # noise, stored as JPEG twice


def test_a_picture_annotated_as_it_is_stored_is_not_turned(phones: Path) -> None:
    path = phones / "coco" / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["width"], image["height"] = image["height"], image["width"]
    path.write_text(json.dumps(content))
    assert open_dataset("coco", "train", root=phones).load(0).image.shape == (128, 100, 3)
    with pytest.raises(DataError, match="Leave out --exif upright"):
        open_dataset("coco", "train", root=phones, exif="upright").load(0)


def test_what_has_no_files_has_no_exif() -> None:
    with pytest.raises(UsageError, match="makes its own images: leave out --exif"):
        open_dataset("synthetic", "train", exif="upright")
    with pytest.raises(UsageError, match="Known: stored, upright"):
        open_dataset("coco", "train", exif="on")


def test_training_and_evaluation_take_the_option(phones: Path) -> None:
    words = ("train", "cid_tiny", "--dataset", "coco", "--data-root", phones, *TINY)
    result = run(*words, "--strict")
    assert result.code == 3
    assert "EXIF" in result.err and "--exif upright" in result.err
    result = run(*words, "--strict", "--exif", "upright", "--runs", "upright")
    assert result.code == 0, result.err
    folder = only(Path("upright"), "train/*")
    assert json.loads((folder / "request.json").read_text())["exif"] == "upright"
    assert run("eval", folder, "--data-root", phones, "--workers", "0", "--strict").code == 3
    upright = ("eval", folder, "--data-root", phones, "--workers", "0", "--strict")
    assert run(*upright, "--exif", "upright").code == 0
    result = run("train", "--resume", folder, "--exif", "stored")
    assert result.code == 4
    assert "trained with --exif upright, not stored" in result.err


def checks(root: Path, **options: Any) -> dict[str, str]:
    findings = examine(root / "coco", COCO_LAYOUT, **options)
    return {f.check: f.severity for f in findings if f.severity != "count"}


def test_the_doctor_tells_an_exif_turn_from_swapped_sides(phones: Path) -> None:
    assert checks(phones) == {"annotated as turned by EXIF (read with --exif upright)": "wrong"}
    assert checks(phones, upright=True) == {}
    command = ("data", "doctor", phones / "coco")
    assert run(*command).code == 3
    assert run(*command, "--exif", "upright").code == 0


def test_the_doctor_notes_a_turn_that_the_size_does_not_show(tmp_path: Path) -> None:
    write_coco(tmp_path)
    turn(tmp_path, "train", 3)
    assert checks(tmp_path) == {"EXIF orientation that is ignored": "note"}


def test_a_path_is_predicted_upright_and_an_opened_image_as_it_is(phones: Path) -> None:
    path = only(phones, "coco/val2017/*.jpg")
    assert as_rgb(path).shape == as_rgb(str(path)).shape == (100, 128, 3)
    with Image.open(path) as image:
        assert as_rgb(image).shape == (128, 100, 3)
