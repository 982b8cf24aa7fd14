"""The experiments of a study: which recipes are trained on which images, and how they are tested.

Variants that differ only in how they are tested share a training. Trainings and tests are named
after a fingerprint of everything they depend on, so that finished ones are recognized.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.bench.ablation.config import SYNTHETIC, StudyConfig
from posebench.data import find_layout, open_dataset
from posebench.errors import UsageError
from posebench.models import RECIPES, STUDIES, find_recipe
from posebench.recipe import (
    RENAMED_FIELDS,
    Recipe,
    override,
    recipe_to_json,
    without_later_fields,
)
from posebench.skeleton import SKELETONS
from posebench.studies import Study, Variant

if TYPE_CHECKING:
    from posebench.data import PoseDataset


@dataclass(frozen=True)
class SplitSpec:
    """One split of a dataset, before it is opened."""

    dataset: str
    split: str
    skeleton: str
    crowd: float = find_layout(SYNTHETIC).crowd  # crowd level of synthetic images
    seed: int = 0  # of synthetic images

    def open(self, root: str = "") -> PoseDataset:
        """Open the split.

        Args:
            root: folder that contains the dataset folders; empty: the usual one.

        Raises:
            UsageError: the dataset has no such split.
            DataError: files are missing or wrong.
        """
        skeleton = SKELETONS[self.skeleton]
        if self.dataset == SYNTHETIC:
            from posebench.data.synthetic_crowds import SyntheticCrowds  # imports torch

            return SyntheticCrowds(skeleton, self.split, crowd=self.crowd, seed=self.seed)
        folder = Path(root) if root else None
        return open_dataset(self.dataset, self.split, root=folder, skeleton=skeleton)

    def eval_split(self) -> SplitSpec:
        """Return the split of the same dataset on which models are usually evaluated."""
        return replace(self, split=find_layout(self.dataset).eval_split)


@dataclass(frozen=True)
class Training:
    """The training of a model, for any seed."""

    recipe: Recipe
    data: SplitSpec
    steps: int  # 0: train for the recipe's epochs
    precision: str
    data_root: str

    @property
    def key(self) -> str:
        """The fingerprint of the training."""
        own = {name: getattr(self, name) for name in ("steps", "precision", "data_root")}
        return fingerprint(self.recipe, self.data, own)

    def folder(self, seed: int) -> str:
        """Return the name of the run folder."""
        return f"{self.recipe.name}_{self.data.dataset}_{self.key[:12]}_seed{seed}"


@dataclass(frozen=True)
class Experiment:
    """A variant of a study as it is trained and tested here."""

    variant: Variant
    training: Training | None  # None: ideal outputs are tested, nothing is trained
    recipe: Recipe  # with the variant's settings for testing
    data: SplitSpec  # the test images

    @property
    def key(self) -> str:
        """The fingerprint of the test, among tests of the same training."""
        return fingerprint(self.recipe, self.data, {"ideal": self.training is None})

    @property
    def tested_by_training(self) -> bool:
        """Whether the evaluation at the end of the training is this test."""
        if self.training is None:
            return False
        trained = self.training.recipe
        same = self.recipe.config == trained.config and self.recipe.inference == trained.inference
        return same and self.data == self.training.data.eval_split()


def fingerprint(recipe: Recipe, data: SplitSpec, more: dict[str, Any]) -> str:
    """Return a hash of everything that a training or a test depends on."""
    values = recipe_to_json(recipe, SKELETONS[data.skeleton])
    # These fields have no effect on the trained model or the test.
    for name in ("reported", "test_overrides", "default_for"):
        del values[name]
    without_later_fields(values)
    # Fields have their first names here, so that trainings of earlier versions are recognized.
    for old, new in RENAMED_FIELDS.items():
        if new in values:
            values[old] = values.pop(new)
    values["weights_url"] = ""
    text = json.dumps([values, asdict(data), more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def resolve(config: StudyConfig) -> list[Experiment]:
    """Return the experiments of a study, in the order of its variants.

    Raises:
        UsageError: a setting does not fit, or the study has nothing to train.
    """
    study = STUDIES[config.study]
    if study.command:
        raise UsageError(f"{study.name} has nothing to train: use {study.command}")
    return [_experiment(study, variant, config) for variant in study.variants]


def _experiment(study: Study, variant: Variant, config: StudyConfig) -> Experiment:
    recipe = RECIPES[config.recipe]
    if variant.recipe:
        named = RECIPES[variant.recipe]
        recipe = find_recipe(named.method, SYNTHETIC) if config.tiny else named
    for setting in (*config.settings, *variant.settings(tiny=config.tiny)):
        recipe = override(recipe, setting)
    train_data = _split(variant.trained_on, study, config, training=True)
    if variant.tested_on:
        test_data = _split(variant.tested_on, study, config, training=False)
    else:
        test_data = train_data.eval_split()
    test_recipe = recipe.on(test_data.dataset)
    for setting in variant.test_settings(tiny=config.tiny):
        test_recipe = override(test_recipe, setting)
    if study.ideal:
        return Experiment(variant, None, test_recipe, test_data)
    steps = round(variant.share * config.steps)
    if not steps:
        full_length = config.epochs or study.share * recipe.epochs
        recipe = with_epochs(recipe, max(round(variant.share * full_length), 1))
    training = Training(recipe, train_data, steps, config.precision, config.data_root)
    return Experiment(variant, training, test_recipe, test_data)


def _split(text: str, study: Study, config: StudyConfig, *, training: bool) -> SplitSpec:
    """Return the split that `dataset:split` names, or synthetic images in its place."""
    dataset, _, split = text.partition(":")
    if config.dataset == SYNTHETIC:
        skeleton = find_layout(dataset or study.dataset).skeletons[0].name
        crowd = find_layout(dataset or SYNTHETIC).crowd
        # Other images for the second split, where a study tests on two splits of one dataset.
        seed = int(split == "val")
        return SplitSpec(SYNTHETIC, "train" if training else "val", skeleton, crowd, seed)
    layout = find_layout(dataset or config.dataset)
    usual = layout.train_split if training else layout.eval_split
    if training and not text and layout.name == study.dataset:
        usual = study.train_split or usual
    return SplitSpec(layout.name, split or usual, layout.skeletons[0].name)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with another number of epochs; its rate drops at the same fractions."""
    if epochs == recipe.epochs:
        return recipe
    drops = tuple(round(drop * epochs / recipe.epochs) for drop in recipe.lr_drops)
    return replace(recipe, epochs=epochs, lr_drops=drops)
