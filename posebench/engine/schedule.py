"""Where optimizer steps fall in a run, and how fast they learn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from posebench.data.loader import Plan
from posebench.recipe import Recipe


@dataclass(frozen=True)
class Schedule:
    """Where optimizer steps fall, and at which rate."""

    recipe: Recipe
    plan: Plan

    @property
    def passes_per_step(self) -> int:
        return max(self.recipe.batch_size // (self.plan.images_per_pass * self.plan.world), 1)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.plan.passes_per_epoch // self.passes_per_step)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.recipe.epochs

    def first_pass(self, step: int) -> int:
        """Return the number of the first pass of optimizer step `step`, counted from 0."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return epoch * self.plan.passes_per_epoch + within * self.passes_per_step

    def lr(self, step: int) -> float:
        """Return the learning rate of optimizer step `step`, counted from 0."""
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
        """Return the learning rate of parameters named `backbone`; 0: they stay as they are."""
        recipe = self.recipe
        if step // self.steps_per_epoch < recipe.frozen_epochs:
            return 0.0
        return self.lr(step) * (recipe.backbone_lr or recipe.lr) / recipe.lr
