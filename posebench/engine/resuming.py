"""Whether a run can go on as it is asked to: by its own recipe, or for more or fewer epochs."""

from __future__ import annotations

from pathlib import Path

from posebench.engine.checkpoint import Checkpoint
from posebench.engine.schedule import StepSchedule
from posebench.errors import ModelError, UsageError
from posebench.recipe import recipe_to_json
from posebench.skeleton import Skeleton

# What may differ where the length of a training does.
_LENGTH = {"epochs", "lr_drops"}


def check_recipe_of_run(
    folder: Path, checkpoint: Checkpoint, schedule: StepSchedule, skeleton: Skeleton
) -> str:
    """Check that a run can go on by a schedule.

    Args:
        folder: of the run.
        checkpoint: its last one.
        schedule: of the recipe by which to go on.
        skeleton: of the training set.

    Returns:
        What another number of epochs means for the learning rate; empty: it is the same recipe.

    Raises:
        ModelError: the recipe differs in more than its length, or in a part that is over.
        UsageError: the run has already been trained for longer.
    """
    saved = recipe_to_json(checkpoint.recipe, checkpoint.skeleton)
    wanted = recipe_to_json(schedule.recipe, skeleton)
    different = [name for name in wanted if wanted[name] != saved.get(name)]
    if not different:
        return ""
    if "epochs" not in different or not _LENGTH.issuperset(different):
        raise ModelError(
            f"{folder} was trained with another recipe ({checkpoint.recipe.name}; "
            f"different: {', '.join(different)}): resume it with the options it started with (the "
            "number of epochs alone may change), or start a new run."
        )
    step, per_epoch = checkpoint.facts["step"], schedule.steps_per_epoch
    if step > schedule.steps:
        raise UsageError(
            f"{folder} has already been trained for {step / per_epoch:.3g} epochs, more than "
            f"{schedule.recipe.epochs}: set epochs to more than that, or evaluate it with "
            "`posebench eval`."
        )
    begun = -(-step // per_epoch)  # number of epochs of which a step has been made
    before, after = (
        sorted(drop for drop in recipe.lr_drops if drop < begun)
        for recipe in (checkpoint.recipe, schedule.recipe)
    )
    if schedule.recipe.schedule == "step" and before != after:
        raise ModelError(
            f"{folder} has been trained for {begun} epochs with lr_drops="
            f"{list(checkpoint.recipe.lr_drops)}: drops of the learning rate before that cannot be "
            "changed, only later ones."
        )
    return _another_length(checkpoint, schedule, step)


def _another_length(checkpoint: Checkpoint, schedule: StepSchedule, step: int) -> str:
    recipe, before = schedule.recipe, checkpoint.recipe
    epochs = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
    text = f"Trains for {epochs} in place of {before.epochs}; the learning rate "
    if step == schedule.steps:
        return text.partition(";")[0] + "."
    lr = f"{schedule.lr(step):.3g}"
    if recipe.schedule == "cosine":
        last = StepSchedule(before, schedule.sampler).lr(step - 1) if step else before.lr
        return text + (
            f"follows the cosine of {recipe.epochs} epochs from here on: it is {lr} now, and was "
            f"{last:.3g}."
        )
    later = [
        str(drop) for drop in sorted(recipe.lr_drops) if drop * schedule.steps_per_epoch > step
    ]
    if later:
        return text + f"is {lr} and is divided by ten after epochs {', '.join(later)}."
    return text + f"stays at {lr}, as no drop is left (--set lr_drops=... sets later ones)."
