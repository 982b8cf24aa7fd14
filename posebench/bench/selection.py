"""Recipes chosen by name, method, backbone or part of a name, and by dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posebench.data import LAYOUTS, find_layout
from posebench.engine import PREDICTORS, Predictor
from posebench.errors import UsageError, unknown_name
from posebench.exporting.card import is_exported
from posebench.models import RECIPES
from posebench.recipe import Recipe, Reported


def select_recipes(words: Sequence[str]) -> list[Recipe]:
    """Return the recipes that words name, each once, in the order of the words.

    A word is "all", a recipe, a network, a method, a backbone, or a part of a network's name such
    as "tiny" or "w32". All but a recipe's name select one recipe of each network.

    Raises:
        UsageError: a word names nothing, or a trained run.
    """
    selected: dict[str, Recipe] = {}
    networks = one_recipe_per_network()
    for word in words:
        recipes = [RECIPES[word]] if word in RECIPES else _named(word, networks)
        if not recipes and is_exported(word):
            raise UsageError(
                f"Expected the name of a recipe, but {word} is an exported file: time it with "
                f"--onnx {word}."
            )
        if not recipes and Path(word).exists():
            raise UsageError(
                f"Expected the name of a recipe, but {word} is a path. Times and counts do not "
                "depend on trained weights: name the run's recipe; `posebench models` shows all."
            )
        if not recipes:
            methods = {recipe.method for recipe in networks.values()}
            raise unknown_name("model", word, {"all", *RECIPES, *networks, *methods})
        selected |= {recipe.name: recipe for recipe in recipes}
    return list(selected.values())


def select_models(words: Sequence[str]) -> list[Recipe | Predictor]:
    """Return the recipes that words name (see `select_recipes`), and predictors by their names.

    Raises:
        UsageError: a word names nothing.
    """
    selected: dict[str, Recipe | Predictor] = {}
    for word in words:
        own = PREDICTORS.get(word)
        models: Sequence[Recipe | Predictor] = select_recipes([word]) if own is None else [own]
        selected |= {model.name: model for model in models}
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


def list_recipes(word: str | None = None, dataset: str | None = None) -> list[Recipe]:
    """Return all recipes that a word names, of a dataset, in the order of the zoo.

    Args:
        word: a recipe, a network, a method, a backbone, or a part of a name; None: all.
        dataset: only recipes that are trained on it, or whose authors have a result on it.

    Raises:
        UsageError: the word or the dataset does not exist.
    """
    chosen = list(RECIPES.values())
    if word is not None and word not in RECIPES:
        networks = {network_of(recipe) for recipe in select_recipes([word])}
        chosen = [recipe for recipe in chosen if network_of(recipe) in networks]
    elif word is not None:
        chosen = [RECIPES[word]]
    if dataset is not None:
        find_layout(dataset)
        chosen = [r for r in chosen if dataset == dataset_of(r) or main_result(r, dataset)]
    return chosen


def dataset_of(recipe: Recipe) -> str:
    """Return the dataset that a recipe is for; the recipes for any are made for synthetic."""
    _, _, last = recipe.name.rpartition("_")
    return last if last in LAYOUTS else "synthetic"


def main_result(recipe: Recipe, dataset: str | None = None) -> Reported | None:
    """Return the authors' main AP on a dataset, by default the one that a recipe is for.

    It is that on the split that models are usually evaluated on, if there is one, and the paper's
    rather than that of the released weights.
    """
    name = dataset or dataset_of(recipe)
    usual = LAYOUTS[name].eval_split
    results = [one for one in recipe.reported if one.dataset == name and one.metric == "AP"]
    results.sort(  # split "val" of COCO is printed as val2017
        key=lambda one: (not one.split.startswith(usual), not one.source.startswith("paper"))
    )
    return results[0] if results else None
