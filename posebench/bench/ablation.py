"""What a study comes to here: which recipes are trained on which images, and how they are tested.

Variants that differ in their tests alone share a training; trainings and tests are named after a
fingerprint of all they depend on, so that whoever comes again finds what is done.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from posebench.data import PoseDataset, find_layout, open_dataset
from posebench.data.base import GroundTruth
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.errors import UsageError
from posebench.models import RECIPES, STUDIES, find_recipe
from posebench.recipe import RENAMED_FIELDS, Recipe, override, recipe_to_json
from posebench.structures import SKELETONS, Sample
from posebench.studies import Study, Variant

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Setup:
    """How a study is run; written into its folder, so that it continues as it began."""

    study: str
    dataset: str
    recipe: str  # that its variants change
    settings: tuple[str, ...] = ()  # field=value of all variants
    budget_s: float = 0.0  # of a training; 0: none
    steps: int = 0  # that the budget allows for, the same for all variants; 0: as many as epochs
    epochs: int = 0  # 0: as the recipe says
    data_root: str = ""
    device: str = "cpu"
    precision: str = "fp32"
    workers: int = 0

    @property
    def schedule(self) -> str:
        """How long its trainings are, in a word."""
        if STUDIES[self.study].ideal:
            return "ideal"
        if self.budget_s:
            return f"{self.budget_s:g}s"
        return f"{self.epochs}epochs" if self.epochs else "paper"

    @property
    def name(self) -> str:
        """The study's folder: what differs in anything but seeds is another one."""
        parts = [self.study.replace("/", "_"), self.dataset, self.schedule]
        if self.recipe != base_recipe(STUDIES[self.study], self.dataset).name:
            parts.append(self.recipe)
        if self.settings or self.precision != "fp32":
            text = " ".join((*self.settings, self.precision))
            parts.append(hashlib.sha256(text.encode()).hexdigest()[:6])
        return "_".join(parts)

    @property
    def tiny(self) -> bool:
        """Whether variants are those of a tiny recipe, which fits any keypoint set."""
        return RECIPES[self.recipe].skeleton is None


@dataclass(frozen=True)
class Place:
    """Images of one split."""

    dataset: str
    split: str
    skeleton: str
    crowd: float = find_layout(SYNTHETIC).crowd  # crowd level of synthetic images
    seed: int = 0  # of drawn people

    def open(self, root: str = "") -> PoseDataset:
        """Open them.

        Raises:
            UsageError: there is no such split.
            DataError: the files are not there or wrong.
        """
        skeleton = SKELETONS[self.skeleton]
        if self.dataset == SYNTHETIC:
            return SyntheticCrowds(skeleton, self.split, crowd=self.crowd, seed=self.seed)
        folder = Path(root) if root else None
        return open_dataset(self.dataset, self.split, root=folder, skeleton=skeleton)

    def usual_test(self) -> Place:
        """The dataset's images on which models are usually tested."""
        return replace(self, split=find_layout(self.dataset).eval_split)


@dataclass(frozen=True)
class Training:
    """A model to train, but for its seed."""

    recipe: Recipe
    place: Place
    steps: int  # 0: the recipe's epochs
    precision: str
    data_root: str

    @property
    def key(self) -> str:
        """What tells it from all others."""
        own = {name: getattr(self, name) for name in ("steps", "precision", "data_root")}
        return fingerprint(self.recipe, self.place, own)

    def folder(self, seed: int) -> str:
        return f"{self.recipe.name}_{self.place.dataset}_{self.key[:12]}_seed{seed}"


@dataclass(frozen=True)
class Line:
    """A variant as it is trained and tested."""

    variant: Variant
    training: Training | None  # None: ideal outputs are tested
    recipe: Recipe  # as it is tested
    place: Place  # where it is tested

    @property
    def key(self) -> str:
        """What tells its test from others of the same training."""
        return fingerprint(self.recipe, self.place, {"ideal": self.training is None})

    @property
    def by_training(self) -> bool:
        """Whether training ends with this very test."""
        if self.training is None:
            return False
        trained = self.training.recipe
        same = self.recipe.config == trained.config and self.recipe.inference == trained.inference
        return same and self.place == self.training.place.usual_test()


def fingerprint(recipe: Recipe, place: Place, more: dict[str, Any]) -> str:
    """Return what tells a training or a test from all others."""
    values = recipe_to_json(recipe, SKELETONS[place.skeleton])
    for name in ("reported", "test_overrides", "default_for"):  # what authors say changes no model
        del values[name]
    # By the names that fields had at first, so that what was trained before is found again.
    for old, new in RENAMED_FIELDS.items():
        if new in values:
            values[old] = values.pop(new)
    text = json.dumps([values, asdict(place), more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def resolve(setup: Setup) -> list[Line]:
    """Return the lines of a study in its order.

    Raises:
        UsageError: a setting does not fit, or the study is not for this dataset.
    """
    study = STUDIES[setup.study]
    if study.command:
        raise UsageError(f"{study.name} is not trained: it is answered by {study.command}")
    return [_line(study, variant, setup) for variant in study.variants]


def base_recipe(study: Study, dataset: str) -> Recipe:
    """Return the recipe that a study's variants change on a dataset.

    Raises:
        UsageError: the method has none there.
    """
    if dataset == study.dataset:
        return RECIPES[study.base]
    if dataset != SYNTHETIC and any(v.recipe or v.trained_on for v in study.variants):
        raise UsageError(
            f"The recipes that {study.name} compares are for {study.dataset}, not for {dataset}: "
            f"choose --dataset {study.dataset} or --dataset {SYNTHETIC}."
        )
    return find_recipe(study.method, dataset)


def _line(study: Study, variant: Variant, setup: Setup) -> Line:
    recipe = RECIPES[setup.recipe]
    if variant.recipe:
        named = RECIPES[variant.recipe]
        recipe = find_recipe(named.method, SYNTHETIC) if setup.tiny else named
    for setting in (*setup.settings, *variant.settings(tiny=setup.tiny)):
        recipe = override(recipe, setting)
    place = _place(variant.trained_on, study, setup, training=True)
    if variant.tested_on:
        tested_on = _place(variant.tested_on, study, setup, training=False)
    else:
        tested_on = place.usual_test()
    tested = recipe.on(tested_on.dataset)
    for setting in variant.test_settings(tiny=setup.tiny):
        tested = override(tested, setting)
    if study.ideal:
        return Line(variant, None, tested, tested_on)
    steps = round(variant.share * setup.steps)
    if not steps:
        whole = setup.epochs or study.share * recipe.epochs
        recipe = shortened(recipe, max(round(variant.share * whole), 1))
    training = Training(recipe, place, steps, setup.precision, setup.data_root)
    return Line(variant, training, tested, tested_on)


def _place(text: str, study: Study, setup: Setup, *, training: bool) -> Place:
    """Return the images that `dataset:split` means, or drawn ones in their stead."""
    dataset, _, split = text.partition(":")
    if setup.dataset == SYNTHETIC:
        skeleton = find_layout(dataset or study.dataset).skeletons[0].name
        crowd = find_layout(dataset or SYNTHETIC).crowd
        # A second set of pictures, where a study tests on two splits of one dataset.
        seed = int(split == "val")
        return Place(SYNTHETIC, "train" if training else "val", skeleton, crowd, seed)
    layout = find_layout(dataset or setup.dataset)
    usual = layout.train_split if training else layout.eval_split
    if training and not text and layout.name == study.dataset:
        usual = study.train_split or usual
    return Place(layout.name, split or usual, layout.skeletons[0].name)


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """Return a recipe that lasts so many epochs, its rates falling at the same shares of them."""
    if epochs == recipe.epochs:
        return recipe
    drops = tuple(round(drop * epochs / recipe.epochs) for drop in recipe.lr_drops)
    return replace(recipe, epochs=epochs, lr_drops=drops)


def fitted(recipe: Recipe, steps: int, dataset: PoseDataset) -> tuple[Recipe, PoseDataset]:
    """Return the recipe and the part of the images with which a training has so many steps.

    Rates fall along a cosine whatever the recipe says, since few epochs have no place for drops,
    and warming up takes a tenth of the steps at most.
    """
    labelled = len(dataset.labelled())
    epochs = max(-(-steps * recipe.batch_size // labelled), 1)
    steps_per_epoch = max(round(steps / epochs), 1)
    short = replace(
        recipe,
        epochs=epochs,
        schedule="cosine",
        warmup_steps=min(recipe.warmup_steps, steps // 10),
        frozen_epochs=min(recipe.frozen_epochs, epochs // 10),
        evaluate_every=epochs,
    )
    return short, Portion(dataset, min(steps_per_epoch * recipe.batch_size, labelled))


class Portion(PoseDataset):
    """A dataset of which so many images, evenly spread, are trained on."""

    def __init__(self, dataset: PoseDataset, images: int) -> None:
        self.name, self.split = dataset.name, dataset.split
        self.skeleton, self.protocol = dataset.skeleton, dataset.protocol
        self._dataset = dataset
        labelled = dataset.labelled()
        self._chosen = [labelled[i * len(labelled) // images] for i in range(images)]

    def __len__(self) -> int:
        return len(self._dataset)

    def load(self, index: int, *, pixels: bool = True) -> Sample:
        return self._dataset.load(index, pixels=pixels)

    def ground_truth(self) -> GroundTruth:
        return self._dataset.ground_truth()

    def fingerprint(self) -> str:
        return self._dataset.fingerprint()

    def labelled(self) -> list[int]:
        return self._chosen
