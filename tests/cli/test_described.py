"""A dataset of one's own through the commands: described, checked, trained, evaluated, drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import TINY, only, run
from tests.data.test_described import COW, cows, write


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
