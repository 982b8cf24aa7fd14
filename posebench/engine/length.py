"""How long a training is on a dataset: lengths given in steps, and a warm-up that fits.

Schedules are in epochs, and warm-up in steps, both for the dataset of the paper. On a few hundred
images an epoch is a few steps, and a published warm-up can be longer than the whole training.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from posebench.engine.request import saved_recipe
from posebench.engine.schedule import step_schedule
from posebench.errors import UsageError
from posebench.recipe import Recipe

FEW_STEPS = 10  # of an epoch, and
SHORT = 2000  # steps of a whole training; below, a warning
WARMUP_SHARE = 10  # warm-up takes at most a tenth of the training
EVALUATIONS = 10  # about so many during a training whose length is given in steps


def fit_length(
    recipe: Recipe,
    images: int,
    *,
    steps: int | None = None,
    given: Collection[str] = (),
    warn: bool = True,
) -> tuple[Recipe, list[str]]:
    """Return the recipe of a new training on a dataset, and what is said about its length.

    Args:
        recipe: the recipe, with the length that it has elsewhere.
        images: number of labelled images.
        steps: optimizer steps, about as many as are made; None: the recipe's epochs.
        given: recipe fields that the user has set; they stay.
        warn: whether to warn of a short training; one whose epochs are given is meant to be as
            long as it is, unless they are a few steps each.

    Raises:
        UsageError: the number of steps is not above 0, or much less than an epoch.
    """
    if not images:  # the training says so
        return recipe, []
    notes = []
    if steps is not None:
        recipe = of_steps(recipe, images, steps, given=given)
    schedule = step_schedule(recipe, range(images))
    each, total = schedule.steps_per_epoch, schedule.steps
    if steps is not None:
        notes.append(
            f"Trains for {_count(recipe.epochs, 'epoch')} of {_count(each, 'step')}, {total} in "
            f"all, and evaluates every {_count(recipe.evaluate_every, 'epoch')}."
        )
    elif warn and total < SHORT and (each < FEW_STEPS or "epochs" not in given):
        notes.append(
            f"warning: an epoch is {_count(each, 'step')} here ({images} images in batches of "
            f"{recipe.batch_size}), and the whole training {total}: give its length in steps, e.g. "
            f"--steps {SHORT}, or more epochs with --set epochs=..."
        )
    warmup = min(recipe.warmup_steps, total // WARMUP_SHARE)
    if warmup < recipe.warmup_steps and "warmup_steps" not in given:
        notes.append(
            f"Warm-up is shortened from {recipe.warmup_steps} to {_count(warmup, 'step')}, a tenth "
            f"of this training's {total} (--set warmup_steps={recipe.warmup_steps} keeps it)."
        )
        recipe = replace(recipe, warmup_steps=warmup)
    return recipe, notes


def of_steps(
    recipe: Recipe,
    images: int,
    steps: int,
    *,
    given: Collection[str] = (),
    only_epochs: bool = False,
) -> Recipe:
    """Return the recipe with epochs that make about so many steps.

    What is counted in epochs, but for `given` fields, moves with them: drops of the learning rate
    and frozen epochs stay at their part of the training, and evaluations are about ten. With
    `only_epochs`, for a run that goes on, they stay where they are.

    Raises:
        UsageError: the number of steps is not above 0, or much less than an epoch.
    """
    if steps < 1:
        raise UsageError(f"--steps is at least 1, not {steps}.")
    if "epochs" in given:
        raise UsageError("--steps and --set epochs=... both give the length: leave out one.")
    each = step_schedule(recipe, range(images)).steps_per_epoch
    if 2 * steps < each:
        raise UsageError(
            f"--steps {steps} is less than half an epoch, which is {each} steps here, and a "
            "training is made of whole epochs: train on fewer images, with --limit "
            f"{steps * recipe.batch_size}."
        )
    epochs = max(round(steps / each), 1)
    if only_epochs:
        return replace(recipe, epochs=epochs)
    share = epochs / recipe.epochs
    moved: dict[str, Any] = {
        "epochs": epochs,
        "evaluate_every": max(epochs // EVALUATIONS, 1),
        "lr_drops": tuple(max(round(drop * share), 1) for drop in recipe.lr_drops),
    }
    if not recipe.freezes_backbone:
        moved["frozen_epochs"] = round(recipe.frozen_epochs * share)
    return replace(recipe, **{name: value for name, value in moved.items() if name not in given})


def with_warmup_of(run: Path, recipe: Recipe, images: int) -> Recipe:
    """Return a recipe that is given anew for a run, with its warm-up if that was shortened."""
    fitted, _ = fit_length(recipe, images, warn=False)
    saved = saved_recipe(run)
    return fitted if fitted.warmup_steps == saved.warmup_steps else recipe


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
