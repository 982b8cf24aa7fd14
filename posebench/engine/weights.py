"""Published checkpoints: downloaded, their parameter names mapped to ours, and checked."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from posebench.downloads import download
from posebench.engine.checkpoint import Checkpoint, check_fit, write_checkpoint
from posebench.engine.torch_files import read_state_dict
from posebench.errors import ModelError, Notice
from posebench.models import RECIPES, PoseModel
from posebench.models.base import Release
from posebench.published import Published
from posebench.recipe import Recipe, with_settings
from posebench.skeleton import COCO


def fetch_published(entry: Published) -> Checkpoint:
    """Return published weights, downloaded unless they are here already.

    Args:
        entry: of the registry.

    Raises:
        ModelError: they cannot be downloaded, or only by hand, or are not what the registry says.
    """
    if not entry.url and not entry.here:
        raise ModelError(f"{entry.name} cannot be downloaded by a program: {entry.by_hand()}.")
    if not entry.here:
        download(entry.url, entry.path, sha256=entry.sha256, size=entry.bytes or None)
        warnings.warn(
            f"{entry.name} is of {entry.source}. Licence: {entry.licence}.", Notice, stacklevel=2
        )
    recipe = with_settings(RECIPES[entry.recipe], entry.settings)
    fitting, weights, release = fit_published(read_state_dict(entry.path), recipe, entry.name)
    facts = {"published": entry.name, "release": release, "licence": entry.licence}
    if entry.url:
        facts["downloaded_from"] = entry.url
    return Checkpoint(entry.path, fitting, weights, facts)


def import_published(path: Path, recipe: Recipe, out: Path) -> Checkpoint:
    """Convert a checkpoint of another code base, write it, and return it.

    Args:
        path: a state dict saved by the authors' code or by MMPose, or a training state that
            contains one.
        recipe: a recipe with a skeleton.
        out: where to write the `.safetensors` file.

    Raises:
        ModelError: the file is not a plain checkpoint, it does not fit the recipe, or no weights of
            this network have been published.
    """
    check_published(recipe)
    fitting, weights, release = fit_published(read_state_dict(path), recipe, path.name)
    assert fitting.skeleton is not None
    facts = {"imported_from": path.name, "release": release}
    write_checkpoint(out, weights, fitting, fitting.skeleton, facts)
    return Checkpoint(out, fitting, weights, facts)


def check_published(recipe: Recipe) -> None:
    """Raise a ModelError if no weights of a recipe's network have been published."""
    with torch.device("meta"):
        model = recipe.build(recipe.skeleton or COCO)
    if not known_releases(model):
        raise ModelError(
            f"The authors of {recipe.method} have published no weights of this network, so there "
            f"is nothing to convert. Train it: posebench train {recipe.name}."
        )


def fit_published(
    published: Mapping[str, Tensor], recipe: Recipe, source: str
) -> tuple[Recipe, dict[str, Tensor], str]:
    """Find out which code base published weights come from, and give them our names.

    Args:
        published: tensors by the names of the authors' code or of MMPose.
        recipe: of the network, with a skeleton.
        source: where they come from, for messages.

    Returns:
        The recipe, with what this code base does otherwise.
        The weights.
        The code base.

    Raises:
        ModelError: they do not fit the recipe.
    """
    assert recipe.skeleton is not None  # the command asks for a full recipe
    with torch.device("meta"):  # only names and shapes are read
        model = recipe.build(recipe.skeleton)
    published = unwrapped(published)
    release, weights = _best_fit(published, model, known_releases(model))
    try:
        check_fit(model, weights, source)
    except ModelError as error:
        raise ModelError(f"{error}{_advice(published)}") from None
    # Some were saved in half precision.
    own = model.state_dict()
    weights = {name: value.to(own[name].dtype).contiguous() for name, value in weights.items()}
    changed = replace(recipe, config=replace(recipe.config, **release.config))
    return changed, weights, release.source


def known_releases(model: PoseModel) -> tuple[Release, ...]:
    """Return in which code bases weights of a network have been published, and their names."""
    if not model.published_names:
        return model.other_releases
    authors = Release("the authors", model.published_names, model.ignored_checkpoint_keys)
    return (authors, *model.other_releases)


def unwrapped(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without the prefixes of wrappers around the network.

    `module.` is left by a parallel wrapper; `1.` by the authors of HigherHRNet, who save the
    network between two conversions of precision.
    """
    weights = {name.removeprefix("module."): value for name, value in published.items()}
    if all(name.startswith("1.") for name in weights):
        weights = {name.removeprefix("1."): value for name, value in weights.items()}
    return weights


def _best_fit(
    published: Mapping[str, Tensor], model: PoseModel, releases: Sequence[Release]
) -> tuple[Release, dict[str, Tensor]]:
    """Return the release with the fewest names that differ from the model's, and the weights."""
    own = set(model.state_dict())

    def differing(converted: tuple[Release, dict[str, Tensor]]) -> int:
        return len(own ^ set(converted[1]))

    return min(
        (
            (release, convert_published(published, release.names, release.left_out))
            for release in releases
        ),
        key=differing,
    )


def _advice(published: Mapping[str, Tensor]) -> str:
    """Return which recipes a checkpoint fits, if the chosen one does not."""
    fitting = [
        recipe.name
        for method in _methods_of(published)
        for recipe in RECIPES.values()
        if recipe.method == method and _fits(published, recipe)
    ]
    if not fitting:
        return " No recipe fits it: is it of a network that is not in the zoo?"
    return f" It fits {' and '.join(fitting)}: name that one with --recipe."


def _methods_of(published: Mapping[str, Tensor]) -> list[str]:
    """Return the methods whose networks have the same parts, whatever their sizes."""
    methods = []
    for recipe in RECIPES.values():
        if recipe.method in methods or not recipe.name.endswith("_tiny"):
            continue
        with torch.device("meta"):
            model = recipe.build(recipe.skeleton or COCO)
        if releases := known_releases(model):
            _, weights = _best_fit(published, model, releases)
            if _parts(weights) == _parts(model.state_dict()):
                methods.append(recipe.method)
    return methods


def _parts(weights: Mapping[str, Tensor]) -> set[str]:
    return {name.partition(".")[0] for name in weights}


def _fits(published: Mapping[str, Tensor], recipe: Recipe) -> bool:
    if recipe.skeleton is None:
        return False
    with torch.device("meta"):
        model = recipe.build(recipe.skeleton)
    _, weights = _best_fit(published, model, known_releases(model))
    own = {name: value.shape for name, value in model.state_dict().items()}
    return own == {name: value.shape for name, value in weights.items()}


def convert_published(
    published: Mapping[str, Tensor], names: Mapping[str, str], left_out: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Rename published parameters by prefix; names without a known prefix are kept.

    Args:
        names: published prefix -> ours; the first that matches is replaced.
        left_out: patterns of published names that are dropped.
    """
    converted = {}
    for name, value in unwrapped(published).items():
        if any(re.search(pattern, name) for pattern in left_out):
            continue
        prefix = next((prefix for prefix in names if name.startswith(prefix)), "")
        converted[names.get(prefix, "") + name.removeprefix(prefix)] = value
    return converted
