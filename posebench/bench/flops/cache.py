"""One row per recipe with its costs, counted beforehand, so that listing the zoo is quick."""

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
from posebench.models import plugin_sources
from posebench.recipe import Recipe
from posebench.skeleton import COCO

COUNTS = Path(__file__).parent / "counts.json"


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


def key_of(recipe: Recipe) -> str:
    """Return a hash of what a recipe's counts depend on besides the code of posebench."""
    skeleton = recipe.skeleton or COCO
    text = f"{recipe.method} {recipe.config} {skeleton.name} {recipe.inference.resize}"
    text += plugin_sources(recipe)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def count(recipe: Recipe) -> dict[str, int]:
    """Count parameters, MACs and FLOPs with one person."""
    from posebench.bench.flops.costs import count_recipe  # imports torch

    counted = count_recipe(recipe)
    return {"parameters": counted.parameters, "macs": counted.macs, "flops": counted.flops}


def _costs(recipe: Recipe) -> dict[str, int]:
    """Return the counts that come with the package, or else those in the user's cache.

    The package has them for the recipes as they are; others, which `--set` has changed, are counted
    once. Those stay valid while the code that builds and counts networks is unchanged, so a hash of
    that code is part of the cache's file name.
    """
    key = key_of(recipe)
    shipped = _shipped().get(recipe.name)
    if shipped and shipped["key"] == key:
        return {name: shipped[name] for name in ("parameters", "macs", "flops")}
    path = cache_folder() / f"costs-{_fingerprint()}.json"
    known: dict[str, dict[str, int]] = {}
    with suppress(OSError, ValueError):  # the file does not exist yet, or is damaged
        known = json.loads(path.read_text())
    if key not in known:
        known[key] = count(recipe)
        with suppress(PosebenchError):  # an unwritable home costs time, not the answer
            write_json(path, known)
    return known[key]


@cache
def _shipped() -> dict[str, Any]:
    """Return the key and the counts of every recipe, as `benchmarks/count_zoo.py` wrote them."""
    try:
        counts: dict[str, Any] = json.loads(COUNTS.read_text())
    except (OSError, ValueError):  # while they are counted for the first time
        return {}
    return counts


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
