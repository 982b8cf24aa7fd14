"""How a study is run here: dataset, recipe, length of the trainings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posebench.data import data_root as find_root
from posebench.data import find_layout
from posebench.errors import UsageError, unknown_name
from posebench.models import RECIPES, STUDIES, find_recipe
from posebench.recipe import Recipe, with_settings
from posebench.skeleton import SKELETONS
from posebench.studies import Study

SYNTHETIC = "synthetic"

_DEFAULT_BUDGET = "10m"  # on synthetic images
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class StudyConfig:
    """The options of a study; stored in its folder, so that it continues as it began."""

    study: str
    dataset: str
    recipe: str  # the recipe that the variants change
    settings: tuple[str, ...] = ()  # field=value, applied to all variants
    budget_s: float = 0.0  # of one training; 0: unlimited
    steps: int = 0  # that fit the budget, the same for all variants; 0: train by epochs
    epochs: int = 0  # 0: the recipe's
    data_root: str = ""
    device: str = "cpu"
    precision: str = "fp32"
    workers: int = 0

    @property
    def schedule(self) -> str:
        """The length of the trainings as one word."""
        if STUDIES[self.study].ideal:
            return "ideal"
        if self.budget_s:
            return f"{self.budget_s:g}s"
        return f"{self.epochs}epochs" if self.epochs else "paper"

    @property
    def name(self) -> str:
        """The name of the study's folder; configurations that differ in results differ in it."""
        parts = [self.study.replace("/", "_"), self.dataset, self.schedule]
        if self.recipe != base_recipe(STUDIES[self.study], self.dataset).name:
            parts.append(self.recipe)
        if self.settings or self.precision != "fp32":
            text = " ".join((*self.settings, self.precision))
            parts.append(hashlib.sha256(text.encode()).hexdigest()[:6])
        return "_".join(parts)

    @property
    def tiny(self) -> bool:
        """Whether the variants change a tiny recipe, which fits any skeleton."""
        return RECIPES[self.recipe].skeleton is None


def configure(
    study: str,
    dataset: str = SYNTHETIC,
    *,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    budget: str | None = None,
    epochs: int = 0,
    data_root: Path | None = None,
) -> StudyConfig:
    """Return the configuration of a study, with the defaults of its dataset.

    Args:
        study: name such as "cid/recalibration".
        dataset: name; "synthetic" needs no files and is trained with a tiny recipe.
        recipe: recipe or method that the variants change; None: the paper's, or a tiny one.
        settings: field=value, applied to all variants.
        budget: time of one training such as "90s", "10m" or "1.5h"; None: 10m on synthetic
            images, none on others.
        epochs: of one training; 0: by the budget or the recipe.
        data_root: folder that contains the dataset folders; None: the usual one.

    Raises:
        UsageError: a name is unknown, or the options do not fit one another.
    """
    layout = find_layout(dataset)  # raises for an unknown name
    if study not in STUDIES:
        raise unknown_name("study", study, STUDIES)
    chosen = STUDIES[study]
    if chosen.command:
        raise UsageError(f"{study} has nothing to train: use {chosen.command}")
    if dataset == "mpii":
        raise UsageError("No paper has an ablation on mpii: choose coco, crowdpose or synthetic.")
    if epochs and budget:
        raise UsageError("Both --epochs and --budget set the length of a training: leave one out.")
    if dataset == SYNTHETIC and not epochs:
        budget = budget or _DEFAULT_BUDGET
    base = find_recipe(recipe, dataset) if recipe else base_recipe(chosen, dataset)
    if base.method != chosen.method:
        raise UsageError(
            f"{study} studies {chosen.method}, but {base.name} is a recipe of {base.method}."
        )
    if dataset != SYNTHETIC and layout.skeleton not in SKELETONS.values():
        raise UsageError(
            f"Studies are made on the keypoints of {', '.join(SKELETONS)}, and {dataset} has "
            "others: choose another --dataset."
        )
    with_settings(base, settings)  # raises for a setting that does not fit
    return StudyConfig(
        study=study,
        dataset=dataset,
        recipe=base.name,
        settings=tuple(settings),
        budget_s=0.0 if chosen.ideal or not budget else _seconds(budget),
        epochs=epochs,
        data_root="" if dataset == SYNTHETIC else str(find_root(data_root).resolve()),
    )


def base_recipe(study: Study, dataset: str) -> Recipe:
    """Return the recipe that a study's variants change on a dataset.

    Raises:
        UsageError: the study's method has no recipe for the dataset.
    """
    if dataset == study.dataset:
        return RECIPES[study.base]
    if dataset != SYNTHETIC and any(v.recipe or v.trained_on for v in study.variants):
        raise UsageError(
            f"The recipes that {study.name} compares are for {study.dataset}, not for {dataset}: "
            f"choose --dataset {study.dataset} or --dataset {SYNTHETIC}."
        )
    return find_recipe(study.method, dataset)


def _seconds(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `1.5h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match or float(match[1]) == 0:
        raise UsageError(f"A budget is a time above 0 such as 90s, 10m or 2h, not {text!r}.")
    return float(match[1]) * _SECONDS[match[2]]
