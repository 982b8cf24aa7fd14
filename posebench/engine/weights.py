"""Published checkpoints: downloaded, their parameter names mapped to ours, and checked."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posebench.downloads import download_state_dict
from posebench.engine.checkpoint import Checkpoint, load_weights, save_weights
from posebench.errors import ModelError
from posebench.models import PoseModel
from posebench.recipe import Recipe


def fetch_published(recipe: Recipe) -> Checkpoint:
    """Return the weights that a recipe's authors published, downloaded or from the cache.

    Args:
        recipe: one with a `weights_url`.

    Raises:
        ModelError: they cannot be downloaded.
    """
    assert recipe.skeleton is not None  # a recipe whose weights are published has one
    with torch.device("meta"):  # only its parameter names are read
        model = recipe.build(recipe.skeleton)
    weights = convert_published(
        download_state_dict(recipe.weights_url),
        model.published_names,
        model.ignored_checkpoint_keys,
    )
    return Checkpoint(Path(recipe.name), recipe, weights, {"downloaded_from": recipe.weights_url})


def import_published(path: Path, recipe: Recipe, out: Path) -> int:
    """Convert a checkpoint of the authors' code and return its number of tensors.

    Args:
        path: a state dict saved by the published code, or a training state that contains one.
        recipe: a recipe with a skeleton.
        out: where to write the `.safetensors` file.

    Raises:
        ModelError: the file is not a plain checkpoint, it does not fit the recipe, or the authors
            have published no weights of this network.
    """
    assert recipe.skeleton is not None  # the command asks for a full recipe
    model: PoseModel = recipe.build(recipe.skeleton)
    if not model.published_names:
        raise ModelError(
            f"The authors of {recipe.method} have published no weights of this network, so there "
            f"is nothing to convert. Train it: posebench train {recipe.name}."
        )
    weights = convert_published(
        _read_state_dict(path), model.published_names, model.ignored_checkpoint_keys
    )
    load_weights(model, weights, path.name)
    save_weights(out, model, recipe, recipe.skeleton, {"imported_from": path.name})
    return len(weights)


def convert_published(
    published: Mapping[str, Tensor], names: Mapping[str, str], left_out: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Rename published parameters by prefix; names without a known prefix are kept.

    Args:
        names: published prefix -> ours; the first that matches is replaced.
        left_out: patterns of published names that are dropped.
    """
    converted = {}
    for name, value in published.items():
        name = name.removeprefix("module.")  # left by a parallel wrapper
        if any(re.search(pattern, name) for pattern in left_out):
            continue
        prefix = next((prefix for prefix in names if name.startswith(prefix)), "")
        converted[names.get(prefix, "") + name.removeprefix(prefix)] = value
    return converted


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"Expected a checkpoint at {path}, but there is no such file.")
    try:
        # Published checkpoints hold the options of their command line, which run nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load raises a dozen types for a damaged file
        if "GLOBAL" in str(error):  # how torch names a function or class that it does not call
            raise ModelError(
                f"{path} holds more than tensors and plain values, and loading it would run code: "
                "it was refused. Save its state dict alone: torch.save(model.state_dict(), file)."
            ) from error
        raise ModelError(f"{path} is not a PyTorch checkpoint, or it is cut short.") from error
    return _find_state_dict(content, path)


def _find_state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the content if it is a state dict, or the one under a common key."""
    candidates = [content]
    if isinstance(content, dict):
        candidates += [content.get("state_dict"), content.get("model")]
    for candidate in candidates:
        if (
            isinstance(candidate, dict)
            and candidate
            and all(isinstance(value, Tensor) for value in candidate.values())
        ):
            return candidate
    raise ModelError(
        f"{path} holds no state dict, neither itself nor under 'state_dict' or 'model'."
    )
