"""The model zoo: every method's recipes, found by name."""

from __future__ import annotations

from posebench.errors import UsageError, unknown_name
from posebench.models import cid, dgcn, group_pose, higher_hrnet, mask_rcnn, pifpaf, posedet
from posebench.models.base import PoseModel
from posebench.recipe import Recipe

METHODS = (cid, dgcn, group_pose, higher_hrnet, mask_rcnn, pifpaf, posedet)
RECIPES: dict[str, Recipe] = {n: r for method in METHODS for n, r in method.RECIPES.items()}

__all__ = ["METHODS", "RECIPES", "PoseModel", "find_recipe"]


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
