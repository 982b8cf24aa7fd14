"""Lengths in steps, and a warm-up that fits the training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from posebench.engine.length import fit_length, of_steps
from posebench.engine.schedule import step_schedule
from posebench.errors import UsageError
from posebench.models import RECIPES
from posebench.recipe import ALL_EPOCHS, Recipe

# Labelled images of the usual training splits: those that the papers train on.
IMAGES = {"coco": 56_599, "crowdpose": 10_000, "mpii": 14_679, "synthetic": 4_000}


def recipe(**changes: Any) -> Recipe:
    usual = {"epochs": 100, "batch_size": 20, "micro_batch_size": 20, "warmup_steps": 0}
    return replace(
        RECIPES["cid_tiny"], **{**usual, "lr_drops": (60, 90), "frozen_epochs": 5, **changes}
    )


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_on_their_own_datasets_stay_as_published(name: str) -> None:
    published = RECIPES[name]
    own = [published.skeleton.name] if published.skeleton else ["synthetic", *published.default_for]
    for images in (IMAGES[dataset] for dataset in own if dataset in IMAGES):
        assert fit_length(published, images) == (published, [])


def test_a_length_in_steps_is_one_of_whole_epochs() -> None:
    fitted, notes = fit_length(recipe(), 60, steps=2000)
    assert step_schedule(fitted, range(60)).steps == 2001
    assert (fitted.epochs, fitted.lr_drops) == (667, (400, 600))
    assert (fitted.frozen_epochs, fitted.evaluate_every) == (33, 66)
    assert notes == [
        "Trains for 667 epochs of 3 steps, 2001 in all, and evaluates every 66 epochs."
    ]


def test_fields_that_are_set_stay() -> None:
    own = recipe(lr_drops=(7,), evaluate_every=3)
    fitted = of_steps(own, 60, 30, given={"lr_drops", "evaluate_every"})
    assert (fitted.epochs, fitted.lr_drops, fitted.evaluate_every) == (10, (7,), 3)
    assert of_steps(recipe(frozen_epochs=ALL_EPOCHS), 60, 30).freezes_backbone
    own = replace(own, frozen_epochs=5)
    longer = of_steps(own, 60, 900, only_epochs=True)
    assert longer == replace(own, epochs=300)


@pytest.mark.parametrize(
    ("images", "steps", "given", "said"),
    [
        (60, 0, (), "at least 1, not 0"),
        (60, 9, ("epochs",), "leave out one"),
        (4000, 99, (), "half an epoch, which is 200 steps here, .*--limit 1980"),
    ],
)
def test_a_length_that_cannot_be_is_refused(
    images: int, steps: int, given: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        of_steps(recipe(), images, steps, given=given)


def test_a_short_training_gives_a_warning() -> None:
    (note,) = fit_length(recipe(), 60)[1]
    assert note.startswith("warning: an epoch is 3 steps here (60 images in batches of 20), and")
    assert "the whole training 300: give its length in steps, e.g. --steps 2000" in note
    (note,) = fit_length(recipe(), 380)[1]
    assert note.startswith("warning: an epoch is 19 steps here")
    assert "the whole training 1900: give" in note
    # Ten steps and more, in so many epochs on purpose.
    assert fit_length(recipe(), 181, given={"epochs"})[1] == []
    assert len(fit_length(recipe(), 180, given={"epochs"})[1]) == 1
    assert fit_length(recipe(), 400)[1] == []
    assert fit_length(recipe(epochs=1000), 60)[1] == []
    assert fit_length(recipe(), 60, warn=False)[1] == []


def test_a_warm_up_takes_a_tenth_at_most() -> None:
    fitted, (note,) = fit_length(recipe(warmup_steps=500), 400)
    assert fitted == recipe(warmup_steps=200)
    assert note == (
        "Warm-up is shortened from 500 to 200 steps, a tenth of this training's 2000 (--set "
        "warmup_steps=500 keeps it)."
    )
    kept = recipe(warmup_steps=500)
    assert fit_length(kept, 400, given={"warmup_steps"}) == (kept, [])
    assert fit_length(recipe(warmup_steps=200), 400)[1] == []
    assert fit_length(kept, 0) == (kept, [])  # an error of the training
