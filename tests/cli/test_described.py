"""A dataset of one's own through the commands: described, checked, trained, evaluated, drawn."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TextIO
from unittest import mock

import numpy as np
import pytest
from safetensors.numpy import load_file

from posebench.cli import main
from tests.cli.command import TINY, only, run
from tests.data.test_described import COW, PLACES, cows, picture, write

KITES = Path(__file__).resolve().parents[2] / "benchmarks" / "drawn_kites.py"


@pytest.fixture
def barn(tmp_path: Path) -> Path:
    """Return an annotation file of two images with a cow of five keypoints each."""
    folder = tmp_path / "barn"
    return write(folder / "cows.json", cows(images=("1.png", "2.png")), folder / "images")


def test_a_dataset_of_ones_own_goes_through_every_command(barn: Path) -> None:
    described = run("data", "describe", barn)
    assert described.code == 0, described.err
    assert "1 given" not in described.out
    description = barn.with_name("dataset.toml")
    description.write_text(described.out + '[origin]\nlicence = "internal"\n')

    checked = run("data", "doctor", description, "--json")
    assert checked.code == 0, checked.err
    rows = {row["check"]: row["count"] for row in json.loads(checked.out)["rows"]}
    assert rows["people with labelled keypoints"] == 2
    assert rows["area derived"] == 2

    trained = run("train", "cid_tiny", "--dataset", description, *TINY)
    assert trained.code == 0, trained.err
    folder = only(Path("runs"), "train/*")
    # Said once, though the file is opened for training and for evaluation.
    assert trained.err.count("0.53 of their box is taken") == 1

    assert "has one split, so the model is evaluated on the images that it is" in trained.err
    # Left beside right, however the sides are spelt.
    assert " ear " in trained.out and "L_ear" not in trained.out

    said = (
        "sigmas: 3 of COCO, 2 default 0.05",
        "area: 0.53 of the box",
        "licence: internal",
    )
    assert all(line in trained.out.splitlines() for line in said)
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts == {"dataset": "cows", "split": "all"} | dict(map(_fact, said))
    assert said[0] in run("eval", folder).out.splitlines()
    scored = run("eval", folder, "--json")
    assert scored.code == 0, scored.err
    metrics = {row["metric"] for row in json.loads(scored.out)["rows"]}
    assert {f"AP/{name}" for name in COW} <= metrics
    drawn = run("viz", barn.parent / "images", "--model", folder, "--min-score", "0", "--out", "d")
    assert drawn.code == 0, drawn.err
    assert len(list(Path("d").rglob("*.png"))) == 2


def _fact(line: str) -> tuple[str, str]:
    name, _, fact = line.partition(": ")
    return name, fact


def test_datasets_of_the_papers_are_printed_without_facts(root: Path, trained: Path) -> None:
    scored = run("eval", trained, "--data-root", root)
    assert scored.code == 0, scored.err
    assert "sigmas" not in scored.out
    assert not list(Path("runs").rglob("dataset.json"))
    assert not (trained / "dataset.json").exists()


def test_a_model_of_other_keypoints_names_both_and_the_way(barn: Path, trained: Path) -> None:
    result = run("eval", trained, "--dataset", barn)
    assert result.code == 4
    assert "has 5 keypoints (nose, L_ear, R_ear, withers, tail_base)" in result.err
    assert "predicts 17 (coco)" in result.err
    assert f"posebench train cid --dataset {barn}" in result.err


def test_a_folder_is_a_dataset_too(barn: Path) -> None:
    bound = run("eval", "cid_tiny", "--oracle", "--dataset", barn.parent, "--json")
    assert bound.code == 0, bound.err
    values = {row["metric"]: row["value"] for row in json.loads(bound.out)["rows"]}
    assert values["AP"] > 50


def test_what_is_refused_loses_nothing(barn: Path) -> None:
    content = json.loads(barn.read_text())
    content["annotations"][0]["image_id"] = 9
    barn.write_text(json.dumps(content))
    result = run("train", "cid_tiny", "--dataset", barn, *TINY)
    assert result.code == 3
    assert "annotation 1 in" in result.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["pifpaf_tiny", "dgcn_tiny"])
def test_a_method_of_limbs_keeps_the_mean_pose_in_its_run(barn: Path, name: str) -> None:
    alone = run("train", name, "--dataset", barn, *TINY)
    assert alone.code == 4
    assert "no limbs lead from nose to R_ear, withers, tail_base" in alone.err
    assert not Path("runs").exists()  # found out before the run's folder is made
    content = json.loads(barn.read_text())
    content["categories"][0]["skeleton"] = [[1, 2], [1, 3], [1, 4], [4, 5]]
    barn.write_text(json.dumps(content))
    trained = run("train", name, "--dataset", barn, *TINY)
    assert trained.code == 0, trained.err
    folder = only(Path("runs"), "train/*")
    weights = load_file(folder / "checkpoints" / "last.safetensors")
    # The box is the hull, grown by a tenth of its 31 pixels: 37.2 x 13.2 around (20.5, 8.5).
    places = (np.array(PLACES) - (20.5, 8.5)) * (1, -1) / np.sqrt(37.2 * 13.2)
    np.testing.assert_allclose(weights["mean_pose"], places, rtol=1e-6)

    (barn.parent / "images" / "1.png").rename("cow.png")
    barn.unlink()  # the pose has come with the weights
    drawn = run("viz", "cow.png", "--model", folder, "--min-score", "0", "--out", "d")
    assert drawn.code == 0, drawn.err
    assert len(list(Path("d").rglob("*.png"))) == 1


def test_drawn_kites_are_a_sound_dataset_and_always_the_same() -> None:
    for name in ("first", "again"):
        subprocess.run(
            [sys.executable, KITES, name, "--images", "5", "--evaluated", "2"], check=True
        )
    for path in Path("first").rglob("*.*"):
        again = Path("again") / path.relative_to("first")
        assert path.read_bytes() == again.read_bytes(), path
    checked = run("data", "doctor", "first", "--json")
    assert checked.code == 0, checked.err
    rows = json.loads(checked.out)["rows"]
    assert {row["severity"] for row in rows} == {"count"}  # nothing is wrong, nothing derived
    counts = {row["check"]: row["count"] for row in rows if row["split"] == "train"}
    assert counts["images with labelled people"] == 5
    content = json.loads(Path("first/train.json").read_text())
    flags = {flag for own in content["annotations"] for flag in own["keypoints"][2::3]}
    assert flags == {0, 1, 2}


def test_options_say_what_a_bare_file_leaves_open(tmp_path: Path) -> None:
    """A training remembers them, so that it goes on without them."""
    content = cows(images=("1.png", "2.png"))
    content["categories"] = [{"id": 1, "name": "cow"}, {"id": 2, "name": "stable"}]
    path = write(tmp_path / "labels" / "cows.json", content, tmp_path / "frames" / "day")
    (tmp_path / "cow.toml").write_text(f"keypoints = {json.dumps(COW)}")
    options = ("--images", "frames/day", "--category", "cow", "--skeleton", "cow.toml")
    described = run("data", "describe", path, *options)
    assert described.code == 0, described.err
    assert str(tmp_path / "frames" / "day") in described.out
    assert run("data", "doctor", path, *options).code == 0
    lost = run("data", "doctor", path, *options[2:])
    assert lost.code == 3
    assert lost.err.endswith("name their folder with --images.\n")

    trained = run("train", "cid_tiny", "--dataset", path, *options, *TINY)
    assert trained.code == 0, trained.err
    folder = only(Path("runs"), "train/*")
    resumed = run("train", "--resume", folder, "--set", "epochs=2")
    assert resumed.code == 0, resumed.err
    unnamed = run("eval", folder, "--dataset", path)
    assert unnamed.code == 3
    assert "None of the categories of" in unnamed.err and "with --category" in unnamed.err
    missing = run("eval", folder, "--dataset", path, "--category", "1")
    assert missing.code == 2
    assert "name their folder with --images" in missing.err
    scored = run("eval", folder, "--dataset", path, *options, "--json")
    assert scored.code == 0, scored.err
    changed = run("train", "--resume", folder, "--category", "stable")
    assert changed.code == 4
    assert "leave out --category" in changed.err


def test_a_category_is_chosen_for_drawing_too(tmp_path: Path) -> None:
    content = cows(images=("1.png",))
    content["categories"] = [
        {"id": number, "name": name, "keypoints": COW} for number, name in ((1, "cow"), (2, "ox"))
    ]
    content["categories"][1]["keypoints"] = COW[::-1]
    path = write(tmp_path / "cows.json", content)
    (tmp_path / "cow.toml").write_text(f"keypoints = {json.dumps(COW)}")
    trained = run("train", "cid_tiny", "--dataset", path, "--category", "cow", *TINY)
    assert trained.code == 0, trained.err
    model = only(Path("runs"), "train/*")
    words = ("viz", tmp_path / "1.png", "--model", model, "--device", "cpu", "--out", "drawn")
    drawn = run(*words, "--annotations", path, "--category", "cow")
    assert drawn.code == 0, drawn.err
    assert (tmp_path / "drawn" / "1.png").is_file()
    alone = run(*words, "--category", "cow")
    assert alone.code == 2
    assert "name that too" in alone.err


def written_to(stdout: TextIO, *words: str) -> None:
    """Run a command whose output the shell sends to a file or pipe."""
    with (
        stdout,
        mock.patch("sys.argv", ["posebench", *words]),
        contextlib.redirect_stdout(stdout),
        contextlib.suppress(SystemExit),
    ):
        main()


def test_a_description_that_the_shell_writes_has_a_short_root(barn: Path) -> None:
    """As seen from the file into which it goes; whole where that is not known or not above it."""
    words = ("data", "describe", str(barn))
    roots = []
    for place in (barn.parent, barn.parent.parent, barn.parent / "images"):
        target = place / "dataset.toml"
        written_to(target.open("w"), *words)
        roots.append(tomllib.loads(target.read_text())["root"])
        target.unlink()
    source, target_end = os.pipe()
    written_to(os.fdopen(target_end, "w"), *words)
    with os.fdopen(source) as piped:
        roots.append(tomllib.loads(piped.read())["root"])
    whole = str(barn.parent)
    assert roots == [".", "barn", whole, whole]


def test_a_dataset_that_is_not_where_it_is_looked_for_is_told(tmp_path: Path) -> None:
    asked = run("data", "doctor", "coco")
    assert asked.code == 3
    assert "usually at data/coco" in asked.err and "--data-root" in asked.err
    assert "Check the path." in run("data", "doctor", "cows").err
    moved = tmp_path / "moved.toml"
    moved.write_text(
        'name = "cows"\nroot = "gone"\n[splits.all]\nimages = "i"\nannotations = "a.json"\n'
    )
    scored = run("eval", "cid_tiny", "--dataset", moved, "--device", "cpu")
    assert scored.code == 3
    assert "gone" in scored.err and "with --data-root" in scored.err


def test_pckh_without_head_boxes_says_what_is_scored(barn: Path) -> None:
    description = barn.with_name("dataset.toml")
    described = run("data", "describe", barn).out
    description.write_text(described + '[protocol]\nkind = "mpii"\n')
    trained = run("train", "cid_tiny", "--dataset", description, *TINY)
    assert trained.code == 0, trained.err
    assert trained.err.count("AP by OKS is reported in its place") == 1
    assert "head box" not in run("eval", only(Path("runs"), "train/*"), "--dataset", barn).err


def test_images_without_annotations_are_predicted_and_not_scored(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        picture(tmp_path / "frames" / name)
    predicted = run("eval", "cid_tiny", "--dataset", "./frames", "--device", "cpu")
    assert predicted.code == 0, predicted.err
    assert "in 2 images of frames all, which are not annotated" in predicted.err
    folder = only(Path("runs"), "eval/*")
    results = json.loads((folder / "predictions.json").read_text())
    assert {result["image_id"] for result in results} <= {1, 2}
    assert not (folder / "results.csv").exists()
    scored = run("eval", "--predictions", folder / "predictions.json", "--dataset", "./frames",
                 "--skeleton", "coco")  # fmt: skip
    assert scored.code == 3
    assert "are not annotated, so nothing can be scored here" in scored.err
    images = [{"id": number, "file_name": f"{number}.png"} for number in (1, 2)]
    Path("nobody.json").write_text(json.dumps({"images": images, "annotations": []}))
    empty = run("eval", "--predictions", folder / "predictions.json", "--dataset", "nobody.json",
                "--skeleton", "coco")  # fmt: skip
    assert empty.code == 0, empty.err
    assert "nobody is annotated in these images: nothing can be scored" in empty.err
    trained = run("train", "cid", "--dataset", "./frames", "--skeleton", "coco")
    assert trained.code == 3
    assert "nothing to train on" in trained.err
