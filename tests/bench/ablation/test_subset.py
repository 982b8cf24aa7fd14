"""Trainings of a given number of steps."""

from __future__ import annotations

import pytest

from posebench.bench.ablation.subset import Subset, fit_to_steps
from posebench.data.loader import MicroBatchSampler
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine.schedule import StepSchedule
from posebench.models import RECIPES
from posebench.skeleton import COCO


@pytest.mark.parametrize("steps", [1, 7, 300, 2500])
def test_a_budget_gives_all_the_same_number_of_steps(steps: int) -> None:
    dataset = SyntheticCrowds(COCO, "train")
    recipe, part = fit_to_steps(RECIPES["cid_tiny"], steps, dataset)
    sampler = MicroBatchSampler(part.labelled(), recipe.micro_batch_size, 0, recipe.epochs)
    assert StepSchedule(recipe, sampler).steps == pytest.approx(steps, abs=recipe.epochs / 2)
    assert recipe.warmup_steps <= steps / 10
    assert recipe.schedule == "cosine"
    assert recipe.evaluate_every == recipe.epochs


def test_a_subset_is_spread_over_the_images() -> None:
    part = Subset(SyntheticCrowds(COCO, "train", 100), 4)
    assert part.labelled() == [0, 25, 50, 75]
    assert part.load(25).image_id == SyntheticCrowds(COCO, "train", 100).load(25).image_id
    assert (part.name, len(part)) == ("synthetic", 100)
