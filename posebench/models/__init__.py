"""The model zoo: every method's recipes and studies, found by name, those of plugins included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from posebench._lazy import lazy_names
from posebench.errors import ModelError, UsageError, unknown_name
from posebench.models import (
    cid,
    dekr,
    dgcn,
    ed_pose,
    group_pose,
    higher_hrnet,
    mask_rcnn,
    pifpaf,
    posedet,
)
from posebench.plugins import PLUGINS, Registry, remedy
from posebench.recipe import ModelConfig, Recipe
from posebench.studies import Study

if TYPE_CHECKING:
    from posebench.models.base import PoseModel
    from posebench.models.profile import Profile

METHODS = (cid, dekr, dgcn, ed_pose, group_pose, higher_hrnet, mask_rcnn, pifpaf, posedet)
RECIPES: Registry[Recipe] = Registry("methods")
STUDIES: Registry[Study] = Registry("methods")
_MODULES: Registry[Any] = Registry("methods")  # method -> what declares it

__all__ = [
    "METHODS",
    "RECIPES",
    "STUDIES",
    "PoseModel",
    "Profile",
    "find_recipe",
    "plugin_of",
    "plugin_sources",
    "profile_of",
    "saved_base",
]

__getattr__ = lazy_names(__name__, base=("PoseModel",), profile=("Profile",))


def add_method(module: Any) -> None:
    """Take the recipes and studies that a module declares, and where its profile is.

    Raises:
        UsageError: they are something else, or have names that others have.
    """
    recipes, studies = module.RECIPES, tuple(getattr(module, "STUDIES", ()))
    if not (isinstance(recipes, Mapping) and recipes) or not all(
        isinstance(recipe, Recipe) and recipe.name == name for name, recipe in recipes.items()
    ):
        raise UsageError("its RECIPES are not a dictionary of Recipe values by their names")
    if not all(
        isinstance(study, Study) and re.fullmatch(r"[A-Z]\d+", study.entry) for study in studies
    ):
        raise UsageError("its STUDIES are not Study values with an entry such as A1")
    methods = {recipe.method for recipe in recipes.values()}
    for kind, names, known in (
        ("method", methods, _MODULES),
        ("recipe", recipes, RECIPES),
        ("study", [study.name for study in studies], STUDIES),
    ):
        for name in names:
            if name in known:
                raise UsageError(f"there is another {kind} named {name!r}: choose another name")
    _MODULES.update(dict.fromkeys(methods, module))
    RECIPES.update(recipes)
    STUDIES.update({study.name: study for study in studies})


for _method in METHODS:
    add_method(_method)
PLUGINS.take("methods", add_method)


def find_recipe(name: str, *datasets: str) -> Recipe:
    """Return the recipe called `name`, or the method's default one for a dataset.

    A method that has a single recipe needs no default.

    Args:
        name: a recipe or a method.
        datasets: the dataset; after it those like it, whose default is taken if it has none.

    Raises:
        UsageError: no such recipe or method, or the method has no default for the datasets.
    """
    if name in RECIPES:
        return RECIPES[name]
    recipes = [recipe for recipe in RECIPES.values() if recipe.method == name]
    if not recipes:
        methods = {recipe.method for recipe in RECIPES.values()}
        raise unknown_name("recipe or method", name, [*RECIPES, *methods])
    for dataset in datasets:
        for recipe in recipes:
            if dataset in recipe.default_for:
                return recipe
    if len(recipes) == 1:
        return recipes[0]
    raise UsageError(
        f"{name} has no default recipe for {datasets[0]!r}. "
        f"Name one: {', '.join(recipe.name for recipe in recipes)}."
    )


def profile_of(config: ModelConfig) -> Profile[Any]:
    """Return what benchmarks, figures and the oracle need to know of a config's method."""
    from posebench.models.profile import Profile

    profile: Profile[Any] = getattr(_MODULES.get(config.method), "PROFILE", None) or Profile()
    return profile


def plugin_of(recipe: Recipe) -> str:
    """Return the package or file that a recipe's method comes from; empty: posebench."""
    return PLUGINS.owner(_MODULES.get(recipe.method))


def plugin_sources(recipe: Recipe) -> str:
    """Return a text that changes when the code of a recipe's plugin does; empty: it has none."""
    return PLUGINS.sources(_MODULES.get(recipe.method))


def saved_base(name: Any, plugin: str, source: object) -> Recipe:
    """Return the recipe, as it is now, that a run or a checkpoint was made with.

    Args:
        name: of the recipe.
        plugin: that it was of, as `plugin_of` returns it.
        source: the run or the checkpoint, for the message.

    Raises:
        ModelError: there is no such recipe any more, or its plugin is missing.
    """
    if name in RECIPES:
        return RECIPES[name]
    if plugin:
        raise ModelError(
            f"{source} is of the recipe {name} of the plugin {plugin}, which is missing here: "
            f"{remedy(plugin)}."
        )
    raise ModelError(f"{source} is of the recipe {name}, which this version does not have.")
