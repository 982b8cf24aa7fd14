"""Which models are compared: recipes by name, method, backbone or word."""

from __future__ import annotations

from collections.abc import Sequence

from posebench.data import LAYOUTS
from posebench.errors import unknown_name
from posebench.models import RECIPES
from posebench.recipe import Recipe


def families() -> dict[str, Recipe]:
    """Return the first recipe of every network by the network's name.

    Recipes of one network for several datasets differ in keypoints or in how they decode, which
    hardly tells in time.
    """
    found: dict[str, Recipe] = {}
    for recipe in RECIPES.values():
        found.setdefault(family(recipe), recipe)
    return found


def family(recipe: Recipe) -> str:
    """Return `cid_hrnet_w32` of `cid_hrnet_w32_coco`."""
    network, _, last = recipe.name.rpartition("_")
    return network if last in LAYOUTS else recipe.name


def choose(words: Sequence[str]) -> list[Recipe]:
    """Return the recipes that words mean, each once, in the order of words.

    A word is `all`; a recipe; a network, a method or a backbone, which mean one recipe of each
    network; or a part of a network's name, such as `tiny` or `w32`.

    Raises:
        UsageError: a word means nothing.
    """
    chosen: dict[str, Recipe] = {}
    networks = families()
    for word in words:
        found = [RECIPES[word]] if word in RECIPES else _of(word, networks)
        if not found:
            methods = {recipe.method for recipe in networks.values()}
            known = {"all", *RECIPES, *networks, *methods}
            raise unknown_name("model", word, known)
        chosen |= {recipe.name: recipe for recipe in found}
    return list(chosen.values())


def _of(word: str, networks: dict[str, Recipe]) -> list[Recipe]:
    for fits in (
        lambda name, recipe: word == "all",
        lambda name, recipe: word == name,
        lambda name, recipe: word in (recipe.method, recipe.config.backbone),
        lambda name, recipe: word in name.split("_"),
    ):
        found = [recipe for name, recipe in networks.items() if fits(name, recipe)]
        if found:
            return found
    return []
