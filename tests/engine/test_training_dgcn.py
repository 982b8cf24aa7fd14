"""What DGCN asks of the training loop: SGD, a backbone frozen at first, measured distances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from posebench.data.loader import MicroBatchSampler
from posebench.data.statistics import keypoint_statistics
from posebench.engine import Interrupted, read_checkpoint, train
from posebench.engine.schedule import StepSchedule
from posebench.models import RECIPES
from posebench.models.dgcn.adjacency import soft_adjacency
from posebench.recipe import Recipe, override
from posebench.skeleton import COCO
from tests.engine.test_training import CPU, StopAfter, crowds, losses


def small_recipe(**changes: Any) -> Recipe:
    small = {"epochs": 2, "batch_size": 4, "micro_batch_size": 2, "evaluate_every": 2}
    sgd = {"optimizer": "sgd", "momentum": 0.9, "schedule": "step", "warmup_steps": 0, "lr": 1e-3}
    recipe = replace(RECIPES["dgcn_tiny"], **{**small, **sgd, **changes})
    return override(override(recipe, "augment.size=64"), "inference.resize.short_side=64")


def weights_after(recipe: Recipe, run: Path) -> dict[str, torch.Tensor]:
    train(recipe, crowds(), crowds("val", 2), run, CPU)
    return read_checkpoint(run / "checkpoints" / "last.safetensors").weights


def test_a_frozen_backbone_stays_for_its_epochs_and_then_learns(tmp_path: Path) -> None:
    torch.manual_seed(CPU.seed)
    recipe = small_recipe()
    fresh = dict(recipe.build(COCO).named_parameters())
    for epochs, learns in ((1, False), (2, True)):
        run = tmp_path / str(epochs)
        weights = weights_after(small_recipe(epochs=epochs, frozen_epochs=1), run)
        moved = {name for name, p in fresh.items() if not weights[name].equal(p)}
        assert any(name.startswith("limb_head.") for name in moved)
        assert any(name.startswith("backbone.") for name in moved) == learns


def test_the_backbones_rate_by_epoch() -> None:
    plan = MicroBatchSampler(range(10), 2, 0, 3)
    frozen = StepSchedule(
        small_recipe(batch_size=2, frozen_epochs=1, lr_drops=(2,), epochs=3), plan
    )
    assert [frozen.backbone_lr(step) for step in (0, 4, 5, 10)] == [0, 0, 1e-3, pytest.approx(1e-4)]
    slower = StepSchedule(small_recipe(batch_size=2, backbone_lr=1e-4, epochs=3), plan)
    assert slower.backbone_lr(0) == pytest.approx(1e-4)
    assert slower.lr(0) == 1e-3


def test_a_run_takes_its_graph_from_its_training_set(tmp_path: Path) -> None:
    weights = weights_after(small_recipe(epochs=1), tmp_path)
    measured = keypoint_statistics(crowds()).distances
    assert weights["adjacency"].equal(soft_adjacency(measured, 0.5))
    assert weights["graphs_drawn"] == 3  # one a pass: 6 images, 2 at once


@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_run_draws_what_it_would_have_drawn(tmp_path: Path, stop: int) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = weights_after(small_recipe(), whole)
    sets = (crowds(), crowds("val", 2))
    with pytest.raises(Interrupted):
        train(small_recipe(), *sets, cut, CPU, callback=StopAfter(stop))
    train(small_recipe(), *sets, cut, CPU, resume=True)
    assert losses(cut) == losses(whole)
    weights = read_checkpoint(cut / "checkpoints" / "last.safetensors").weights
    assert all(weights[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("changes", "named"), [({"momentum": 1.0}, "below 1"), ({"frozen_epochs": -1}, "at least 0")]
)
def test_fields_outside_their_range_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        small_recipe(**changes)
