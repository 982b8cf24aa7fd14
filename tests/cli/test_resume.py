"""`train --resume RUN` alone, and what may stand beside it; `--limit`."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import posebench
from posebench.cli.train_progress import TrainProgress
from posebench.engine import find_request, read_checkpoint, read_log
from posebench.engine.request import world
from posebench.errors import ModelError
from tests.builders import write_coco
from tests.cli.command import TINY, only, run

TRAIN = ("train", "cid_tiny", "--dataset", "coco", *TINY, "--set", "epochs=2", "--seed", "3")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def stopped(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a training that was stopped after the first of two steps."""
    place = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Path("data").symlink_to(root)
        patch.setattr(TrainProgress, "on_step", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert run(*TRAIN, "--data-root", "data", "--eval-split", "train").code == 130
    return only(place, "runs/train/*")


@pytest.fixture
def folder(stopped: Path, tmp_path: Path) -> Path:
    """Return a copy of the stopped run, for a test to go on with."""
    return Path(shutil.copytree(stopped, tmp_path / "copy"))


def steps(run: Path) -> list[int]:
    return [entry["step"] for entry in read_log(run) if "loss" in entry]


def test_a_run_goes_on_without_repeating_anything(folder: Path, root: Path) -> None:
    result = run("train", "--resume", folder)
    assert result.code == 0, result.err
    assert "cid_tiny on coco train" in result.out  # the split it was to be evaluated on
    assert steps(folder) == [1, 2]
    assert read_checkpoint(folder / "checkpoints" / "last.safetensors").facts["seed"] == 3
    content = read(folder / "request.json")
    assert (content["version"], content["device"], content["images"]) == (1, "cpu", 3)
    assert Path(content["data_root"]).is_absolute() and content["eval_split"] == "train"


def test_the_python_api_goes_on_likewise(folder: Path) -> None:
    finished = posebench.train(resume=folder)
    assert finished.recipe is not None and finished.recipe.epochs == 2
    assert (finished.dataset.split, steps(folder)) == ("train", [1, 2])


def test_where_the_data_lie_may_change(folder: Path, tmp_path: Path, root: Path) -> None:
    shutil.copytree(root, tmp_path / "moved")
    assert run("train", "--resume", folder, "--data-root", "moved").code == 0
    assert read(folder / "request.json")["data_root"] == str(tmp_path / "moved")


def test_other_data_are_refused(folder: Path, tmp_path: Path) -> None:
    write_coco(tmp_path / "other", people=(1, 1))
    write_coco(tmp_path / "other", people=(1,), split="val")
    result = run("train", "--resume", folder, "--data-root", "other")
    assert result.code == 3
    assert "3 labelled images, but coco train has 2 here" in result.err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("train", "was trained on coco train (3 images, fingerprint "),
        ("val", "was evaluated on coco val (2 images, fingerprint "),
    ],
)
def test_as_many_other_images_are_refused_and_nothing_is_lost(
    root: Path, trained: Path, tmp_path: Path, changed: str, said: str
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    shutil.copytree(root, tmp_path / "other")
    path = tmp_path / f"other/coco/annotations/person_keypoints_{changed}2017.json"
    content = read(path)
    content["annotations"][0]["keypoints"][0] += 1
    path.write_text(json.dumps(content), encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = run("train", "--resume", folder, "--data-root", "other")
    assert result.code == 3
    assert said in result.err
    assert f"--weights {folder}" in result.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dataset", "crowdpose"), "with --dataset coco, not crowdpose"),
        (("--seed", "0"), "with --seed 3, not 0"),
        (("--split", "val"), "with --split train, not val"),
        (("--limit", "2"), "without --limit, not 2"),
        (("--set", "lr=0.5"), "different: lr"),
        (("cid_hrnet_w32_coco",), "cid_tiny, not cid_hrnet_w32_coco"),
        (("--dataset", "cocoo"), "Did you mean coco"),
    ],
)
def test_what_was_otherwise_is_refused(folder: Path, words: tuple[str, ...], said: str) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = run("train", *words, "--resume", folder)
    assert result.code in (2, 4)
    assert said in result.err
    assert result.err.splitlines()[-1].startswith("error: ")
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("words", [(), ("cid_tiny",), ("--dataset", "coco")])
def test_a_new_training_needs_a_recipe_and_a_dataset(words: tuple[str, ...]) -> None:
    result = run("train", *words)
    assert result.code == 2
    assert "posebench train cid_tiny --dataset synthetic" in result.err


def test_an_earlier_version_left_its_command_line(folder: Path, stopped: Path) -> None:
    (folder / "request.json").unlink()
    found = find_request(folder)
    assert found is not None
    assert replace(found, data_root=None, images=0) == replace(
        find_request(stopped) or found, data_root=None, images=0
    )
    assert found.data_root == "data"  # the copy does not lie below `runs`
    shutil.copytree(stopped, "there/runs/train/run")
    Path("there/runs/train/run/request.json").unlink()
    moved = find_request(Path("there/runs/train/run"))
    assert moved is not None
    assert moved.data_root == str(Path("there/data").absolute())


@pytest.mark.parametrize(
    ("command", "said"), [(["script.py"], "--dataset"), (["posebench", "ablate"], "ablate")]
)
def test_what_an_earlier_version_did_not_record_is_said(
    folder: Path, root: Path, command: list[str], said: str
) -> None:
    (folder / "request.json").unlink()
    environment = read(folder / "environment.json")
    (folder / "environment.json").write_text(json.dumps({**environment, "command": command}))
    result = run("train", "--resume", folder)
    assert result.code == 4
    assert said in result.err
    whole = (*TRAIN, "--data-root", root, "--resume", folder)
    assert run(*whole).code == 0


@pytest.mark.parametrize("content", ["[]", "{}", '{"version": 9}', "{", '{"version": 1}'])
def test_a_damaged_request_is_said(folder: Path, content: str) -> None:
    (folder / "request.json").write_text(content)
    result = run("train", "--resume", folder)
    assert result.code in (3, 4)
    assert "request.json" in result.err and "Traceback" not in result.err


def test_a_folder_without_a_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found nothing"):
        posebench.train(resume=tmp_path / "nowhere")


def test_several_processes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert world() == {"processes": 1, "machines": 1}
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert world() == {"processes": 8, "machines": 2}


# ---------------------------------------------------------------------------------------- --limit


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_training_on_some_images_says_so_ever_after(root: Path, tmp_path: Path) -> None:
    words = ("train", "cid_tiny", "--dataset", "coco", *TINY, "--data-root", root)
    assert run(*words, "--limit", "1").code == 0
    folder = only(tmp_path, "runs/train/*")
    assert read(folder / "request.json")["limit"] == 1
    own = {(row["split"], row["source"]) for row in rows(folder)}
    assert own == {("val[:1]", "measured, trained on 1 images")}
    assert len({person["image_id"] for person in read(folder / "predictions.json")}) <= 1
    assert run("eval", folder, "--data-root", root, "--device", "cpu").code == 0
    evaluated = rows(only(tmp_path, "runs/eval/*"))
    assert {(row["split"], row["source"]) for row in evaluated} == {
        ("val", "measured, trained on 1 images")
    }
