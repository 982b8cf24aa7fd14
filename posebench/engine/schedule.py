"""The optimizer steps of a run: which micro-batches they accumulate, at which learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from posebench.data.loader import MicroBatchSampler
from posebench.distributed import rank, world_size
from posebench.recipe import Recipe


@dataclass(frozen=True)
class StepSchedule:
    """Micro-batches and learning rates of the optimizer steps of a run, counted from 0."""

    recipe: Recipe
    sampler: MicroBatchSampler

    @property
    def micro_batches_per_step(self) -> int:
        """The number of micro-batches whose gradients a step accumulates."""
        return max(
            self.recipe.batch_size // (self.sampler.micro_batch_size * self.sampler.world_size), 1
        )

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.sampler.per_epoch // self.micro_batches_per_step)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.recipe.epochs

    def first_micro_batch(self, step: int) -> int:
        """Return the number of the first micro-batch of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return epoch * self.sampler.per_epoch + within * self.micro_batches_per_step

    def lr(self, step: int) -> float:
        """Return the learning rate of a step."""
        recipe = self.recipe
        if step < recipe.warmup_steps:
            return recipe.lr * (step + 1) / recipe.warmup_steps
        if recipe.schedule == "cosine":
            done = (step - recipe.warmup_steps) / max(self.steps - recipe.warmup_steps, 1)
            return recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
        epoch = step // self.steps_per_epoch
        drops = sum(epoch >= drop for drop in recipe.lr_drops)
        return recipe.lr * 0.1**drops

    def backbone_lr(self, step: int) -> float:
        """Return the learning rate of the backbone's parameters; 0: they are frozen."""
        recipe = self.recipe
        if step // self.steps_per_epoch < recipe.frozen_epochs:
            return 0.0
        return self.lr(step) * (recipe.backbone_lr or recipe.lr) / recipe.lr


def step_schedule(recipe: Recipe, indices: Sequence[int], seed: int = 0) -> StepSchedule:
    """Return this rank's part of a training by a recipe on images with these indices."""
    share = max(recipe.batch_size // world_size(), 1)  # images of a rank in each step
    size = min(recipe.micro_batch_size, share)
    sampler = MicroBatchSampler(indices, size, seed, recipe.epochs, rank(), world_size())
    return StepSchedule(recipe, sampler)
