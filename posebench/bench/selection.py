"""The recipes of a benchmark, chosen by name, method, backbone or part of a name."""

from __future__ import annotations

from collections.abc import Sequence

from posebench.data import LAYOUTS
from posebench.errors import unknown_name
from posebench.models import RECIPES
from posebench.recipe import Recipe


def select_recipes(words: Sequence[str]) -> list[Recipe]:
    """Return the recipes that words name, each once, in the order of the words.

    A word is "all", a recipe, a network, a method, a backbone, or a part of a network's name such
    as "tiny" or "w32". All but a recipe's name select one recipe of each network.

    Raises:
        UsageError: a word names nothing.
    """
    selected: dict[str, Recipe] = {}
    networks = one_recipe_per_network()
    for word in words:
        recipes = [RECIPES[word]] if word in RECIPES else _named(word, networks)
        if not recipes:
            methods = {recipe.method for recipe in networks.values()}
            raise unknown_name("model", word, {"all", *RECIPES, *networks, *methods})
        selected |= {recipe.name: recipe for recipe in recipes}
    return list(selected.values())


def one_recipe_per_network() -> dict[str, Recipe]:
    """Return network -> its first recipe.

    Recipes of a network for several datasets differ only in the number of keypoints and in
    decoding, which hardly affects their time.
    """
    networks: dict[str, Recipe] = {}
    for recipe in RECIPES.values():
        networks.setdefault(network_of(recipe), recipe)
    return networks


def network_of(recipe: Recipe) -> str:
    """Return `cid_hrnet_w32` of `cid_hrnet_w32_coco`."""
    network, _, last = recipe.name.rpartition("_")
    return network if last in LAYOUTS else recipe.name


def _named(word: str, networks: dict[str, Recipe]) -> list[Recipe]:
    """Return the recipes for which the most specific reading of a word holds."""
    for matches in (
        lambda name, recipe: word == "all",
        lambda name, recipe: word == name,
        lambda name, recipe: word in (recipe.method, recipe.config.backbone),
        lambda name, recipe: word in name.split("_"),
    ):
        recipes = [recipe for name, recipe in networks.items() if matches(name, recipe)]
        if recipes:
            return recipes
    return []
