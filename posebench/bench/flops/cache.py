"""One row per recipe with its costs, cached on disk, so that listing the zoo is quick."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from posebench.errors import PosebenchError
from posebench.files import cache_folder, write_json
from posebench.recipe import Recipe
from posebench.structures import COCO


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return one tidy row: names, parameters, cost of a forward pass, reported results."""
    costs = _costs(recipe)
    return {
        "recipe": recipe.name,
        "method": recipe.method,
        "backbone": recipe.config.backbone,
        "keypoints": recipe.skeleton.name if recipe.skeleton else "any",
        "input_size": recipe.inference.resize.short_side,
        "params_M": costs["parameters"] / 1e6,
        "gmacs": costs["macs"] / 1e9,
        "gflops": costs["flops"] / 1e9,
        "reported": ", ".join(
            f"{r.value:g} {r.dataset} {r.split} ({r.source})" for r in recipe.reported
        ),
    }


def _costs(recipe: Recipe) -> dict[str, int]:
    """Return parameters, MACs and FLOPs with one person, from the user's cache if it has them.

    Counting the whole zoo takes half a minute. The counts stay valid while the code that builds and
    counts networks is unchanged, so a hash of that code is part of the cache's file name.
    """
    skeleton = recipe.skeleton or COCO
    key = f"{recipe.method} {recipe.config} {skeleton.name} {recipe.inference.resize}"
    path = cache_folder() / f"costs-{_fingerprint()}.json"
    known: dict[str, dict[str, int]] = {}
    with suppress(OSError, ValueError):  # the file does not exist yet, or is damaged
        known = json.loads(path.read_text())
    if key not in known:
        from posebench.bench.flops.costs import count_recipe  # imports torch

        count = count_recipe(recipe)
        known[key] = {
            "parameters": count.parameters, "macs": count.macs, "flops": count.flops,
        }  # fmt: skip
        with suppress(PosebenchError):  # an unwritable home costs time, not the answer
            write_json(path, known)
    return known[key]


@cache
def _fingerprint() -> str:
    """Return a hash of the code that builds networks and counts their operations."""
    state = hashlib.sha256()
    root = Path(__file__).parents[2]
    for package in ("layers", "models", "bench/flops"):
        for path in sorted((root / package).rglob("*.py")):
            state.update(path.read_bytes())
    for library in ("torch", "torchvision", "timm"):
        state.update(version(library).encode())
    return state.hexdigest()[:16]
