"""`train --weights`, `--freeze` and `--steps`, and `--resume` for more epochs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import posebench
from posebench.engine import read_checkpoint, read_log
from posebench.models import RECIPES
from posebench.recipe import with_settings
from tests.cli.command import TINY, only, run


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def train(root: Path, *words: str | Path) -> tuple[Path, str]:
    """Train cid_tiny for a step and return its run folder, and what was said on stderr."""
    before = set(Path().glob("runs/train/*"))
    result = run("train", "cid_tiny", "--dataset", "coco", "--data-root", root, *TINY, *words)
    assert result.code == 0, result.err
    (folder,) = set(Path().glob("runs/train/*")) - before
    return folder, result.err


# -------------------------------------------------------------------------------------- --weights


def test_a_training_starts_from_a_recipes_weights(root: Path) -> None:
    folder, said = train(root, "--weights", "cid_tiny")
    assert "Started from cid_tiny (cid_tiny): 326 tensors taken whole. weights.json" in said
    assert read(folder / "request.json")["weights"] == "cid_tiny"
    assert read(folder / "recipe.json")["pretrained"] is False
    assert read_checkpoint(folder).facts["started_from"] == "cid_tiny"
    resumed = run("train", "--resume", folder)
    assert resumed.code == 0, resumed.err
    assert "This run was started from cid_tiny" in resumed.err


def test_a_training_starts_from_a_run(root: Path, trained: Path) -> None:
    folder, said = train(root, "--weights", trained, "--set", "lr=1e-30")
    assert f"Started from {trained} (cid_tiny)" in said
    assert Path(read(folder / "request.json")["weights"]) == trained.absolute()
    ours, theirs = (read_checkpoint(place).weights for place in (folder, trained))
    assert ours["reduce.weight"].equal(theirs["reduce.weight"])


def test_weights_and_resume_exclude_each_other(trained: Path) -> None:
    result = run("train", "--resume", trained, "--weights", "cid_tiny")
    assert result.code == 2
    assert "--weights starts a new run and --resume continues one" in result.err


def test_weights_that_are_not_there_leave_no_run(root: Path) -> None:
    words = ("train", "cid_tiny", "--dataset", "coco", "--data-root", root, *TINY)
    result = run(*words, "--weights", "nowhere")
    assert result.code == 4
    assert ".onnx, .xml, .pt2) at nowhere, but found nothing" in result.err
    assert not Path("runs").exists()


def test_weights_from_python(root: Path) -> None:
    training = posebench.train(
        "cid_tiny", "coco", data_root=root, weights="cid_tiny", device="cpu", epochs=1,
        settings=[word for word in TINY if "=" in word],
    )  # fmt: skip
    assert training.folder is not None
    assert training.folder == only(Path(), "runs/train/*")
    assert (training.folder / "weights.json").is_file()


# --------------------------------------------------------------------------------------- --freeze


def test_a_backbone_is_frozen(root: Path, trained: Path) -> None:
    folder, _ = train(root, "--weights", trained, "--freeze", "backbone")
    ours, theirs = (read_checkpoint(place).weights for place in (folder, trained))
    moved = {name for name in ours if not ours[name].equal(theirs[name])}
    assert moved
    assert not any(name.startswith("backbone.") for name in moved)
    assert run("train", "--resume", folder, "--freeze", "backbone").code == 0
    refused = run("train", "--resume", trained, "--freeze", "backbone")
    assert refused.code == 4
    assert "different: frozen_epochs" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--freeze", "backbon"), "Did you mean backbone?"),
        (("--freeze", "backbone", "--no-pretrained"), "would keep random weights"),
    ],
)
def test_what_cannot_be_frozen_is_said(root: Path, words: tuple[str, ...], said: str) -> None:
    result = run("train", "cid_tiny", "--dataset", "coco", "--data-root", root, *TINY, *words)
    assert result.code == 2
    assert said in result.err


# ---------------------------------------------------------------------------- --resume for longer


def test_a_finished_run_is_trained_for_longer(root: Path, trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    result = run("train", "--resume", folder, "--set", "epochs=3")
    assert result.code == 0, result.err
    assert "Trains for 3 epochs in place of 1; the learning rate follows the cosine" in result.err
    assert [entry["step"] for entry in read_log(folder) if "loss" in entry] == [1, 2, 3]
    assert read(folder / "recipe.json")["epochs"] == 3
    again = run("train", "--resume", folder)  # its length is now its own
    assert again.code == 0, again.err
    assert "in place of" not in again.err
    refused = run("train", "--resume", folder, "--set", "epochs=2")
    assert refused.code == 2
    assert "already been trained for 3 epochs, more than 2" in refused.err


def test_a_run_of_an_earlier_version_is_trained_for_longer(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    (folder / "request.json").unlink()
    assert posebench.train(resume=folder, epochs=2).recipe == replace(
        read_checkpoint(folder / "checkpoints" / "last.safetensors").recipe, epochs=2
    )


# ---------------------------------------------------------------------------------------- --steps


def test_a_training_is_given_its_length_in_steps(root: Path, tmp_path: Path) -> None:
    small = [word for word in TINY if word != "epochs=1"]
    small.remove("--set")
    words = ("train", "cid_tiny", "--dataset", "coco", "--data-root", str(root), *small)
    result = run(*words, "--set", "batch_size=2", "--steps", "5")
    assert result.code == 0, result.err
    assert "Trains for 2 epochs of 2 steps, 4 in all, and evaluates every 1 epoch." in result.err
    assert "Warm-up is shortened from 200 to 0 steps" in result.err
    folder = only(tmp_path, "runs/train/*")
    assert [entry["step"] for entry in read_log(folder) if "loss" in entry] == [1, 2, 3, 4]
    recipe = read(folder / "recipe.json")
    assert (recipe["epochs"], recipe["warmup_steps"]) == (2, 0)
    longer = run("train", "--resume", folder, "--steps", "6")
    assert longer.code == 0, longer.err
    assert "Trains for 3 epochs in place of 2" in longer.err


def test_a_recipe_given_anew_resumes_a_run_whose_warm_up_was_shortened(root: Path) -> None:
    recipe = with_settings(RECIPES["cid_tiny"], [word for word in TINY if "=" in word])
    begun = posebench.train(recipe, "coco", data_root=root, device="cpu")
    assert begun.recipe is not None and begun.recipe.warmup_steps < recipe.warmup_steps
    again = posebench.train(recipe, resume=begun.folder)
    assert again.recipe == begun.recipe


def test_few_steps_are_warned_of_unless_the_user_knows(root: Path) -> None:
    assert "warning: an epoch is 1 step here (3 images in batches of 4)" in train(root)[1]
    assert "warning" not in train(root, "--limit", "2")[1]
