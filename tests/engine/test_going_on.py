"""Resuming a run for more epochs, and refusing to resume it on other data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from posebench.data import PoseDataset, open_dataset
from posebench.data.limited import FirstImages
from posebench.data.loader import MicroBatchSampler
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import Checkpoint, Interrupted, TrainingRequest, read_checkpoint, train
from posebench.engine.checkpoint import TrainingState
from posebench.engine.resuming import check_recipe_of_run
from posebench.engine.schedule import StepSchedule
from posebench.errors import DataError, ModelError, UsageError
from posebench.recipe import Recipe
from posebench.skeleton import COCO
from tests.builders import write_coco
from tests.engine.test_starting import Notes
from tests.engine.test_training import CPU, StopAfter, crowds, losses, small_recipe


def steps(**changes: Any) -> Recipe:
    """Return a recipe of two steps an epoch, whose learning rate drops after the first epoch."""
    return small_recipe(
        **{"schedule": "step", "lr_drops": (1,), "ema_decay": 0.9, "warmup_steps": 0, **changes}
    )


def sets() -> tuple[SyntheticCrowds, SyntheticCrowds]:
    return crowds(), crowds("val", 2)


def everything(run: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of the training state: weights, moments, moving average."""
    checkpoint, state = TrainingState(run / "checkpoints").read()
    found = {**checkpoint.weights, **{f"mean {k}": v for k, v in state["averaged"].items()}}
    for number, moments in state["optimizer"]["state"].items():
        found.update({f"{number} {name}": value for name, value in moments.items()})
    return found


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of two epochs."""
    run = tmp_path_factory.mktemp("short")
    train(steps(), *sets(), run, CPU)
    return run


@pytest.fixture
def copy(short: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(short, tmp_path / "copy"))


def test_a_finished_run_goes_on_as_if_it_had_been_begun_for_longer(
    copy: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    train(steps(epochs=4, lr_drops=(1, 3)), *sets(), whole, CPU)
    notes = Notes()
    longer = steps(epochs=4, lr_drops=(1, 3))
    with pytest.raises(Interrupted):  # once more within the added epochs
        train(longer, *sets(), copy, CPU, resume=True, callback=StopAfter(6))
    train(longer, *sets(), copy, CPU, resume=True, callback=notes)
    assert notes.notes == []  # said when it began to go on
    assert losses(copy) == losses(whole)
    ours, theirs = everything(copy), everything(whole)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert json.loads((copy / "recipe.json").read_text())["epochs"] == 4
    assert read_checkpoint(copy / "checkpoints" / "last.safetensors").recipe.lr_drops == (1, 3)
    predictions = [json.loads((run / "predictions.json").read_text()) for run in (copy, whole)]
    assert predictions[0] == predictions[1]


def checked(before: Recipe, after: Recipe, step: int) -> str:
    """Return what is said of going on by another recipe, after so many steps of two an epoch."""
    checkpoint = Checkpoint(Path("last"), replace(before, skeleton=COCO), {}, {"step": step})
    plan = MicroBatchSampler(range(6), micro_batch_size=2, seed=0, epochs=after.epochs)
    return check_recipe_of_run(Path("run"), checkpoint, StepSchedule(after, plan), COCO)


@pytest.mark.parametrize(
    ("step", "changes", "said"),
    [
        (4, {}, ""),
        (
            4,
            {"epochs": 3},
            "Trains for 3 epochs in place of 2; the learning rate stays at 0.0003, as no drop is "
            "left (--set lr_drops=... sets later ones).",
        ),
        (
            4,
            {"epochs": 9, "lr_drops": (1, 5, 7)},
            "Trains for 9 epochs in place of 2; the learning rate is 0.0003 and is divided by ten "
            "after epochs 5, 7.",
        ),
        (2, {"epochs": 1}, "Trains for 1 epoch in place of 2."),
    ],
)
def test_what_becomes_of_the_learning_rate_is_said(
    step: int, changes: dict[str, Any], said: str
) -> None:
    assert checked(steps(), steps(**changes), step) == said


def test_a_longer_cosine_jumps_up() -> None:
    before = small_recipe(schedule="cosine", epochs=10, warmup_steps=0, lr=1.0)
    assert checked(before, replace(before, epochs=20), 20) == (
        "Trains for 20 epochs in place of 10; the learning rate follows the cosine of 20 epochs "
        "from here on: it is 0.5 now, and was 0.00616."
    )


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"lr": 0.5}, ModelError, "different: lr"),
        ({"epochs": 9, "lr": 0.5}, ModelError, "different: epochs, lr"),
        ({"lr_drops": (1, 5)}, ModelError, "different: lr_drops"),
        ({"epochs": 9, "lr_drops": (5,)}, ModelError, r"for 2 epochs with lr_drops=\[1\]"),
        ({"epochs": 1}, UsageError, "already been trained for 1.5 epochs, more than 1"),
    ],
)
def test_what_cannot_become_longer_is_refused(
    changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        checked(steps(), steps(**changes), 3)


# ----------------------------------------------------------------------------------------- its data


def test_a_run_goes_on_with_its_own_data_only() -> None:
    train_set, eval_set = sets()
    run = Path("run")
    request = TrainingRequest.new("synthetic").on(run, train_set, eval_set)
    assert request.images == 6
    assert request.on(run, crowds(), crowds("val", 2)).data == request.data
    with pytest.raises(DataError, match=r"trained on synthetic train \(6 images.*--annotations"):
        request.on(run, replace(train_set, seed=1), eval_set)
    with pytest.raises(DataError, match=r"evaluated on synthetic val \(2 images.*\(3 images"):
        request.on(run, train_set, replace(eval_set, length=3))
    with pytest.raises(DataError, match="6 labelled images, but synthetic train has 4"):
        request.on(run, FirstImages(train_set, 4), eval_set)
    earlier = replace(request, data={})  # what an earlier version wrote
    assert earlier.on(run, replace(train_set, seed=1), eval_set).images == 6


def coco(root: Path) -> PoseDataset:
    return open_dataset("coco", "train", root=root)


def test_the_same_data_elsewhere_are_recognised_and_others_are_not(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "one", people=(1, 1, 2))
    moved = Path(shutil.copytree(tmp_path / "one", tmp_path / "moved"))
    own = coco(tmp_path / "one").contents()
    assert coco(moved).contents() == own
    whole = json.loads(path.read_text())

    def contents(**changed: Any) -> str:
        other = moved / "coco" / "annotations" / path.name
        other.write_text(json.dumps({**whole, **changed}))
        return coco(moved).contents()

    images, people = whole["images"], whole["annotations"]
    renamed = [{**images[0], "file_name": "other.jpg"}, *images[1:]]
    exchanged = [{**people[0], "image_id": 2}, {**people[1], "image_id": 1}, *people[2:]]
    assert contents() == own
    assert contents(info={"year": 2026}) == own
    others = {
        contents(images=renamed), contents(annotations=exchanged), contents(images=images[::-1]),
        contents(annotations=people[:-1]),
    }  # fmt: skip
    assert len(others | {own}) == 5
    assert FirstImages(coco(moved), 2).contents() != coco(moved).contents()
