"""The model zoo: every method's recipes and studies, found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from posebench._lazy import lazy_names
from posebench.errors import UsageError, unknown_name
from posebench.models import cid, dgcn, group_pose, higher_hrnet, mask_rcnn, pifpaf, posedet
from posebench.recipe import ModelConfig, Recipe
from posebench.studies import Study

if TYPE_CHECKING:
    from posebench.models.base import PoseModel
    from posebench.models.profile import Profile

METHODS = (cid, dgcn, group_pose, higher_hrnet, mask_rcnn, pifpaf, posedet)
RECIPES: dict[str, Recipe] = {n: r for method in METHODS for n, r in method.RECIPES.items()}

STUDIES: dict[str, Study] = {
    study.name: study for method in METHODS for study in getattr(method, "STUDIES", ())
}

__all__ = ["METHODS", "RECIPES", "STUDIES", "PoseModel", "Profile", "find_recipe", "profile_of"]

__getattr__ = lazy_names(__name__, base=("PoseModel",), profile=("Profile",))


def find_recipe(name: str, dataset: str) -> Recipe:
    """Return the recipe called `name`, or the method's default one for the dataset.

    Raises:
        UsageError: no such recipe or method, or the method has no default for the dataset.
    """
    if name in RECIPES:
        return RECIPES[name]
    recipes = [recipe for recipe in RECIPES.values() if recipe.method == name]
    if not recipes:
        methods = {recipe.method for recipe in RECIPES.values()}
        raise unknown_name("recipe or method", name, [*RECIPES, *methods])
    for recipe in recipes:
        if dataset in recipe.default_for:
            return recipe
    raise UsageError(
        f"{name} has no default recipe for {dataset!r}. "
        f"Name one: {', '.join(recipe.name for recipe in recipes)}."
    )


def profile_of(config: ModelConfig) -> Profile[Any]:
    """Return what benchmarks, figures and the oracle need to know of a config's method."""
    from posebench.models.profile import Profile

    for method in METHODS:
        if method.__name__.rpartition(".")[2] == config.method:
            profile: Profile[Any] = getattr(method, "PROFILE", None) or Profile()
            return profile
    return Profile()
