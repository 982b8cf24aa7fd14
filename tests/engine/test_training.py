"""The training loop on a few small synthetic images."""

from __future__ import annotations

import importlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from posebench.data.base import PoseDataset
from posebench.data.loader import MicroBatchSampler, Unreadable
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import Evaluation, Interrupted, TrainOptions, read_checkpoint, read_log, train
from posebench.engine.callbacks import NullCallback, StepReport
from posebench.engine.schedule import StepSchedule
from posebench.engine.training import _Average
from posebench.errors import DataError, ModelError, PosebenchError
from posebench.models import RECIPES
from posebench.recipe import Recipe, override
from posebench.skeleton import COCO
from posebench.structures import DetrAugment, DetrResize, Inference, Sample

CPU = TrainOptions(torch.device("cpu"))


def small_recipe(**changes: Any) -> Recipe:
    small = {"epochs": 2, "batch_size": 4, "micro_batch_size": 2, "warmup_steps": 2}
    recipe = replace(RECIPES["cid_tiny"], **{**small, "evaluate_every": 2, **changes})
    return override(override(recipe, "augment.size=64"), "inference.resize.short_side=64")


def crowds(split: str = "train", length: int = 6) -> SyntheticCrowds:
    return SyntheticCrowds(COCO, split, length, size=64, crowd=0.2)


class StopAfter(NullCallback):
    """Asks the run to stop in the middle, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, report: StepReport) -> None:
        if report.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


class Recording(NullCallback):
    def __init__(self) -> None:
        self.images: list[Unreadable] = []
        self.best: list[bool] = []

    def on_evaluation(self, epoch: int, evaluation: Evaluation, best: bool) -> None:
        self.best.append(best)

    def on_unreadable(self, image: Unreadable) -> None:
        self.images.append(image)


def losses(run: Path) -> list[dict[str, Any]]:
    steps = [entry for entry in read_log(run) if "loss" in entry]
    return [{k: v for k, v in step.items() if k != "images_per_second"} for step in steps]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    train(small_recipe(), crowds(), crowds("val", 2), run, CPU)
    return run


def test_a_run_leaves_everything_that_says_what_it_was(finished: Path) -> None:
    recipe = json.loads((finished / "recipe.json").read_text())
    assert recipe["name"] == "cid_tiny"
    assert recipe["augment"]["size"] == 64
    assert recipe["skeleton"] == "coco"
    assert len(losses(finished)) == 4  # 2 epochs of 6 images in steps of 4
    assert "AP" in json.loads((finished / "metrics.json").read_text())
    assert isinstance(json.loads((finished / "predictions.json").read_text()), list)
    checkpoint = read_checkpoint(finished)
    assert checkpoint.path.name == "best.safetensors"
    assert checkpoint.recipe == replace(small_recipe(), skeleton=COCO)
    assert not list(finished.rglob(".*"))  # nothing half-written is left


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_run_continues_bit_for_bit(
    finished: Path, tmp_path: Path, stop: int, workers: int
) -> None:
    options = replace(CPU, workers=workers)
    sets = (crowds(), crowds("val", 2))
    with pytest.raises(Interrupted, match="--resume"):
        train(small_recipe(), *sets, tmp_path, options, callback=StopAfter(stop))
    assert len(losses(tmp_path)) == stop
    train(small_recipe(), *sets, tmp_path, options, resume=True)
    assert losses(tmp_path) == losses(finished)
    weights, expected = (
        read_checkpoint(run / "checkpoints" / "last.safetensors").weights
        for run in (tmp_path, finished)
    )
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_run_stopped_at_the_end_of_an_epoch_is_evaluated_there(tmp_path: Path) -> None:
    recipe = small_recipe(evaluate_every=1)
    sets = (crowds(), crowds("val", 2))
    callback = Recording()
    with pytest.raises(Interrupted):
        train(recipe, *sets, tmp_path, CPU, callback=StopAfter(2))
    train(recipe, *sets, tmp_path, CPU, resume=True, callback=callback)
    evaluated = [entry["step"] for entry in read_log(tmp_path) if "metrics" in entry]
    assert evaluated == [2, 4]


@pytest.mark.parametrize("world_size", [1, 2])
def test_ctrl_c_during_the_last_evaluation_stops_the_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    """One process leaves the evaluation, of several each stops when it is done."""

    class StopInEvaluation(NullCallback):
        def on_eval_progress(self, done: int, total: int) -> None:
            if done == 1:
                os.kill(os.getpid(), signal.SIGINT)

    sets = (crowds(), crowds("val", 2))
    if world_size > 1:  # without others: their part of the agreement is left out
        module = importlib.import_module("posebench.engine.training")
        monkeypatch.setattr(module, "_may_leave_evaluation", lambda: False)
    with pytest.raises(Interrupted, match=r"after step 4 of 4.*--resume"):
        train(small_recipe(), *sets, tmp_path, CPU, callback=StopInEvaluation())
    assert (tmp_path / "metrics.json").exists() == (world_size > 1)
    evaluation = train(small_recipe(), *sets, tmp_path, CPU, resume=True)
    assert evaluation.metrics == json.loads((finished / "metrics.json").read_text())
    assert losses(tmp_path) == losses(finished)


def test_a_killed_run_continues_from_its_last_checkpoint(finished: Path, tmp_path: Path) -> None:
    sets = (crowds(), crowds("val", 2))
    with pytest.raises(Interrupted):
        train(small_recipe(), *sets, tmp_path, CPU, callback=StopAfter(2))
    with (tmp_path / "log.jsonl").open("a") as log:  # what it did before the plug was pulled
        log.write('{"step": 3, "loss": 1.0}\n{"step": 4, "lo')
    train(small_recipe(), *sets, tmp_path, CPU, resume=True)
    assert losses(tmp_path) == losses(finished)


def test_a_moving_average_is_evaluated_and_continues_bit_for_bit(tmp_path: Path) -> None:
    recipe = small_recipe(ema_decay=0.9)
    sets = (crowds(), crowds("val", 2))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(recipe, *sets, whole, CPU)
    with pytest.raises(Interrupted):
        train(recipe, *sets, cut, CPU, callback=StopAfter(2))
    train(recipe, *sets, cut, CPU, resume=True)
    average, resumed, last = (
        read_checkpoint(place).weights
        for place in (whole, cut, whole / "checkpoints" / "last.safetensors")
    )
    assert all(torch.equal(average[name], resumed[name]) for name in average)
    name = "keypoint_head.weight"
    assert not torch.equal(average[name], last[name])


def test_the_average_follows_closely_at_first() -> None:
    model = nn.BatchNorm1d(2)
    steps = model.get_buffer("num_batches_tracked")
    averaged = _Average(model, 0.9)
    for value in (0.0, 1.0, 1.0):  # (1 + n) / (10 + n) until that is above the decay
        nn.init.constant_(model.weight, value)
        steps += 2
        averaged.update_parameters(model)
    expected = pytest.approx([1 - (2 / 11) * (3 / 12)] * 2)
    assert averaged.module.get_parameter("weight").tolist() == expected
    assert averaged.module.get_buffer("num_batches_tracked") == 6


def test_another_recipe_or_seed_is_not_resumed(finished: Path) -> None:
    sets = (crowds(), crowds("val", 2))
    with pytest.raises(ModelError, match="different: lr"):
        train(small_recipe(lr=0.5), *sets, finished, CPU, resume=True)
    with pytest.raises(ModelError, match="--seed 0"):
        train(small_recipe(), *sets, finished, replace(CPU, seed=1), resume=True)


def test_a_folder_without_a_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Expected a run folder"):
        train(small_recipe(), crowds(), crowds("val", 2), tmp_path, CPU, resume=True)


def test_a_loss_that_is_not_finite_stops_with_step_images_and_terms(tmp_path: Path) -> None:
    recipe = small_recipe(lr=1e30, clip_norm=0.0, warmup_steps=0)
    with pytest.raises(PosebenchError, match=r"step \d.*heatmap.*train/.*--set lr"):
        train(recipe, crowds(), crowds("val", 2), tmp_path, CPU)


class Damaged(SyntheticCrowds):
    """Synthetic crowds of which some images cannot be read."""

    bad: tuple[int, ...] = (1,)

    def load(self, index: int, *, pixels: bool = True) -> Sample:
        if index in self.bad:
            raise DataError(f"The image {index}.png is cut short.")
        return super().load(index, pixels=pixels)


class AllDamaged(Damaged):
    bad = tuple(range(6))


def test_an_unreadable_image_is_named_once_and_left_out(tmp_path: Path) -> None:
    callback = Recording()
    dataset = Damaged(COCO, "train", 6, size=64, crowd=0.2)
    train(small_recipe(), dataset, crowds("val", 2), tmp_path, CPU, callback=callback)
    assert [image.message for image in callback.images] == ["The image 1.png is cut short."]
    assert {"unreadable": "The image 1.png is cut short."} in read_log(tmp_path)


def test_strict_stops_at_an_unreadable_image(tmp_path: Path) -> None:
    dataset = Damaged(COCO, "train", 6, size=64, crowd=0.2)
    with pytest.raises(DataError, match=r"1\.png"):
        train(small_recipe(), dataset, crowds("val", 2), tmp_path, replace(CPU, strict=True))


def test_a_dataset_of_unreadable_images_is_an_error(tmp_path: Path) -> None:
    dataset = AllDamaged(COCO, "train", 6, size=64, crowd=0.2)
    with pytest.raises(DataError, match="None of the 6 images"):
        train(small_recipe(), dataset, crowds("val", 2), tmp_path, CPU)


class Unlabelled(SyntheticCrowds):
    def labelled(self) -> list[int]:
        return []


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    dataset: PoseDataset = Unlabelled(COCO, "train", 6, size=64)
    with pytest.raises(DataError, match="nothing to train on"):
        train(small_recipe(), dataset, crowds("val", 2), tmp_path, CPU)


def test_bf16_trains_with_float32_losses(tmp_path: Path) -> None:
    train(small_recipe(), crowds(), crowds("val", 2), tmp_path, replace(CPU, precision="bf16"))
    assert all(isinstance(step["loss"], float) for step in losses(tmp_path))


def test_schedule_steps_at_its_epochs_and_cosine_ends_near_zero() -> None:
    plan = MicroBatchSampler(range(10), micro_batch_size=2, seed=0, epochs=4)
    step = replace(small_recipe(), epochs=4, schedule="step", lr=1.0, lr_drops=(1, 3),
                   warmup_steps=0)  # fmt: skip
    schedule = StepSchedule(step, plan)
    assert schedule.steps_per_epoch == 3  # five passes, two to a step
    rates = [schedule.lr(s) for s in range(schedule.steps)]
    assert rates == pytest.approx([1] * 3 + [0.1] * 6 + [0.01] * 3)
    assert [schedule.first_micro_batch(s) for s in range(5)] == [0, 2, 4, 5, 7]
    cosine = StepSchedule(replace(step, schedule="cosine", warmup_steps=2), plan)
    assert cosine.lr(0) == 0.5
    assert cosine.lr(2) == 1.0
    assert cosine.lr(schedule.steps - 1) < 0.05


def test_accumulated_passes_equal_one_large_pass(tmp_path: Path) -> None:
    # With batch norm out of the way and one person an image, halves average to the whole but for
    # the loss's own normaliser, so the first step's terms are compared.
    one = small_recipe()
    two = replace(one, micro_batch_size=4)
    first = []
    for name, recipe in (("one", one), ("two", two)):
        run = tmp_path / name
        with pytest.raises(Interrupted):
            train(recipe, crowds(length=4), crowds("val", 2), run, CPU, callback=StopAfter(1))
        first.append(losses(run)[0])
    assert first[0]["loss"] == pytest.approx(first[1]["loss"], rel=0.2)


def test_the_backbone_learns_at_a_rate_of_its_own(tmp_path: Path) -> None:
    recipe = small_recipe(backbone_lr=1e-30)
    train(recipe, crowds(), crowds("val", 2), tmp_path, CPU)
    weights = read_checkpoint(tmp_path).weights
    torch.manual_seed(CPU.seed)
    fresh = recipe.build(COCO)
    moved = {n for n, p in fresh.named_parameters() if not weights[n].allclose(p, atol=1e-20)}
    assert moved
    assert not any(name.startswith("backbone.") for name in moved)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_images_of_several_sizes_are_trained_on(tmp_path: Path, precision: Any) -> None:
    augment = DetrAugment(
        short_sides=(48, 64), long_side=80, crop_short_sides=(64, 72), crop_sides=(40, 64)
    )
    recipe = replace(
        RECIPES["group_pose_tiny"], epochs=1, batch_size=4, micro_batch_size=2, augment=augment,
        inference=Inference(DetrResize(64, 64), flip=False),
    )  # fmt: skip
    evaluation = train(
        recipe, crowds(), crowds("val", 2), tmp_path, replace(CPU, precision=precision)
    )
    assert evaluation.images == 2
    assert len(losses(tmp_path)) == 2


@pytest.mark.parametrize(
    "compiler",
    [
        "eager",  # what is traced, without a compiler
        pytest.param("inductor", marks=pytest.mark.slow),
    ],
)
def test_a_compiled_training_goes_on_with_the_same_losses(compiler: str, tmp_path: Path) -> None:
    recipe = replace(RECIPES["pifpaf_tiny"], batch_size=4, warmup_steps=2, evaluate_every=2)
    recipe = override(override(recipe, "augment.size=65"), "inference.resize.short_side=64")
    compiled = replace(CPU, compiler=compiler)
    for run, options, stops in (("whole", CPU, ()), ("resumed", compiled, (1,))):
        for epochs in (*stops, 2):
            train(
                replace(recipe, epochs=epochs), crowds(), crowds("val", 2), tmp_path / run,
                options, resume=epochs == 2 and bool(stops),
            )  # fmt: skip
    whole, resumed = (
        [entry["loss"] for entry in read_log(tmp_path / run) if "loss" in entry]
        for run in ("whole", "resumed")
    )
    assert resumed == pytest.approx(whole, rel=1e-4)
