"""Published checkpoints: downloaded, their parameter names mapped to ours, and checked."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
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
        try:
            download(
                entry.url, entry.path,
                sha256=entry.sha256, sha384=entry.sha384, size=entry.bytes or None,
            )  # fmt: skip
        except ModelError as error:
            raise ModelError(f"{entry.name}: {error}") from error
        warnings.warn(
            f"{entry.name} is of {entry.source}. Licence: {entry.licence}.", Notice, stacklevel=2
        )
    recipe = RECIPES[entry.recipe]
    try:
        published = read_state_dict(entry.path)
    except ModelError as error:
        way = "to download it again, or" if entry.url else "and"
        raise ModelError(f"{error} Delete the file {way} {entry.by_hand()}.") from error
    fitting, weights, release = fit_published(published, recipe, entry.name)
    facts = {"published": entry.name, "release": release, "licence": entry.licence}
    if entry.url:
        facts["downloaded_from"] = entry.url
    return Checkpoint(entry.path, with_settings(fitting, entry.settings), weights, facts)


def import_published(
    path: Path, recipe: Recipe | None, out: Path | None = None, *, join: Path | None = None
) -> Checkpoint:
    """Convert a checkpoint of another code base, write it, and return it.

    Args:
        path: a state dict saved by the authors' code or by MMPose, or a training state that
            contains one.
        recipe: a recipe with a skeleton; None: the only one that the file fits.
        out: where to write the `.safetensors` file; None: weights/RECIPE.safetensors.
        join: a file with the rest of the network's tensors, such as DEKR's scoring net.

    Raises:
        ModelError: a file is not a plain checkpoint, they do not fit the recipe, or no weights of
            this network have been published.
    """
    if recipe is not None:
        check_published(recipe)
    published = read_state_dict(path)
    if join is not None:
        published = _joined(unwrapped(published), unwrapped(read_state_dict(join)), join.name)
    if recipe is None:
        recipe = _only_fit(published, path.name)
    fitting, weights, release = fit_published(published, recipe, path.name)
    assert fitting.skeleton is not None
    target = out or Path("weights") / f"{recipe.name}.safetensors"
    facts = {"imported_from": path.name, "release": release}
    if join is not None:
        facts["joined_from"] = join.name
    write_checkpoint(target, weights, fitting, fitting.skeleton, facts)
    return Checkpoint(target, fitting, weights, facts)


def _joined(one: dict[str, Tensor], other: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    both = sorted(set(one) & set(other))
    if both:
        raise ModelError(
            f"Expected further tensors in {source}, but it has {len(both)} that the first file "
            f"has too, {both[0]} among them: name a file of another part of the network."
        )
    return one | other


def _only_fit(published: Mapping[str, Tensor], source: str) -> Recipe:
    fitting = _fitting(published)
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ModelError(f"{source} fits no recipe: {_resemblance(published)}")
    names = " and ".join(recipe.name for recipe in fitting)
    raise ModelError(f"{source} fits {names}, which differ in their settings: choose by --recipe.")


def check_published(recipe: Recipe) -> None:
    """Raise a ModelError if no weights of a recipe's network have been published."""
    if not known_releases(_meta_model(recipe)):
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
        The recipe, with the settings in which this code base differs from the authors'.
        The weights.
        The code base.

    Raises:
        ModelError: they do not fit the recipe.
    """
    assert recipe.skeleton is not None  # the command asks for a full recipe
    model, release, weights = _best_fit(published, recipe)
    try:
        check_fit(model, weights, source)
    except ModelError as error:
        raise ModelError(f"{error}{_advice(published)}") from None
    # Some were saved in half precision.
    own = model.state_dict()
    weights = {name: value.to(own[name].dtype).contiguous() for name, value in weights.items()}
    return with_settings(recipe, release.settings), weights, release.source


def known_releases(model: PoseModel) -> tuple[Release, ...]:
    """Return in which code bases weights of a network have been published, and their names."""
    if not model.published_names:
        return model.other_releases
    authors = Release(
        "the authors", model.published_names, model.ignored_checkpoint_keys, model.published_stacks
    )
    return (authors, *model.other_releases)


# Prefixes of wrappers around a whole network: parallel training, compiling, averaging, Lightning,
# and the conversions of precision between which the authors of HigherHRNet save theirs.
_WRAPPERS = ("module.", "_orig_mod.", "ema_model.", "ema.", "model.", "1.")


def unwrapped(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without the prefixes of wrappers around the network."""
    weights = {name.removeprefix("module."): value for name, value in published.items()}
    weights.pop("steps", None)  # a counter beside averaged weights
    while weights and (prefix := _wrapper(weights)):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _wrapper(names: Iterable[str]) -> str:
    """Return the wrapper's prefix with which all names begin; empty: there is none."""
    listed = list(names)
    return next((p for p in _WRAPPERS if all(name.startswith(p) for name in listed)), "")


def _best_fit(
    published: Mapping[str, Tensor], recipe: Recipe
) -> tuple[PoseModel, Release, dict[str, Tensor]]:
    """Return the network, the release with the fewest names that differ from its, and the weights.

    The network has no memory: only names and shapes are read.
    """
    model = _meta_model(recipe)
    fits = []
    for release in known_releases(model):
        own = model
        if release.other_network:
            try:
                own = _meta_model(with_settings(recipe, release.settings))
            except ModelError:  # it does not exist for these keypoints
                continue
        weights = convert_published(published, release.names, release.left_out, release.stacks)
        fits.append((own, release, weights))
    return min(fits, key=lambda fit: len(set(fit[0].state_dict()) ^ set(fit[2])))


def _meta_model(recipe: Recipe) -> PoseModel:
    with torch.device("meta"):
        return recipe.build(recipe.skeleton or COCO)


def _advice(published: Mapping[str, Tensor]) -> str:
    """Return which recipes a checkpoint fits, if the chosen one does not."""
    fitting = _fitting(published)
    if not fitting:
        return f" No recipe fits it: {_resemblance(published)}"
    names = " and ".join(recipe.name for recipe in fitting)
    return f" It fits {names}: choose by --recipe."


def _fitting(published: Mapping[str, Tensor]) -> list[Recipe]:
    """Return the recipes whose networks have exactly these tensors."""
    return [
        recipe
        for method in _methods_of(published)
        for recipe in RECIPES.values()
        if recipe.method == method and _fits(published, recipe)
    ]


def _resemblance(published: Mapping[str, Tensor]) -> str:
    """Return what a checkpoint that no recipe fits may be of, as the end of a sentence."""
    methods = _methods_of(published)
    if not methods:
        return "is it of a network that is not in the zoo?"
    return (
        f"its names are those of {' and '.join(methods)}, so tensors are missing, or it has other "
        "sizes or keypoints; --recipe NAME lists what differs from a recipe."
    )


def _methods_of(published: Mapping[str, Tensor]) -> list[str]:
    """Return the methods whose networks have the same parts, whatever their sizes."""
    methods = []
    for recipe in RECIPES.values():
        if recipe.method in methods or not recipe.name.endswith("_tiny"):
            continue
        if known_releases(_meta_model(recipe)):
            model, _, weights = _best_fit(published, recipe)
            if _parts(weights) == _parts(model.state_dict()):
                methods.append(recipe.method)
    return methods


def _parts(weights: Mapping[str, Tensor]) -> set[str]:
    return {name.partition(".")[0] for name in weights}


def _fits(published: Mapping[str, Tensor], recipe: Recipe) -> bool:
    if recipe.skeleton is None:
        return False
    model, _, weights = _best_fit(published, recipe)
    own = {name: value.shape for name, value in model.state_dict().items()}
    return own == {name: value.shape for name, value in weights.items()}


def convert_published(
    published: Mapping[str, Tensor],
    names: Mapping[str, str],
    left_out: Sequence[str] = (),
    stacks: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """Rename published parameters by prefix; names without a known prefix are kept.

    Args:
        names: published prefix -> ours; the first that matches is replaced.
        left_out: patterns of published names that are dropped.
        stacks: published prefix -> ours; tensors that get one name are put one after the other, in
            the order of the numbers for which a star in the prefix stands.
    """
    converted: dict[str, Tensor] = {}
    stacked: dict[str, dict[int, Tensor]] = {}
    numbered = {
        re.compile(re.escape(prefix).replace(r"\*", r"(\d+)")): ours
        for prefix, ours in (stacks or {}).items()
    }
    for name, value in unwrapped(published).items():
        if any(re.search(pattern, name) for pattern in left_out):
            continue
        for numbers, ours in numbered.items():
            if match := numbers.match(name):
                stacked.setdefault(ours + name[match.end() :], {})[int(match[1])] = value
                break
        else:
            prefix = next((prefix for prefix in names if name.startswith(prefix)), "")
            converted[names.get(prefix, "") + name.removeprefix(prefix)] = value
    return converted | {name: _stack(values) for name, values in stacked.items()}


def _stack(numbered: Mapping[int, Tensor]) -> Tensor:
    """Return the tensors one after the other; of counters, which are equal, one."""
    values = [numbered[number] for number in sorted(numbered)]
    return torch.cat(values) if values[0].dim() else values[0]
