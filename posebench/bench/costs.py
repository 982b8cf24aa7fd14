"""What a recipe's network costs: parameters, MACs and FLOPs, without weights or data.

Everything is counted on the meta device, where nothing is computed.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import posebench
from posebench.bench.flops import Audit, audit, audit_call
from posebench.engine import inference_model
from posebench.errors import PosebenchError
from posebench.files import cache_folder, write_json
from posebench.models import PoseModel, profile_of
from posebench.recipe import Recipe
from posebench.structures import COCO


@dataclass(frozen=True)
class Costs:
    """Of one forward pass, in units."""

    parameters: int
    macs: int
    flops: int  # as trained, with batch norms
    flops_folded: int  # as it predicts, with batch norms folded into convolutions
    macs_as_written: int  # by the paper's equations


def meta_model(recipe: Recipe) -> PoseModel:
    """Return the recipe's network without memory for its weights."""
    with torch.device("meta"):
        model: PoseModel = recipe.build(recipe.skeleton or COCO)
    return model.eval()


def audit_recipe(
    recipe: Recipe, size: tuple[int, int] | None = None, *, batch: int = 1, people: int = 1
) -> Audit:
    """Count the forward pass of a recipe.

    Args:
        size: H, W of the input; None: the recipe's short side on both.
        batch: images.
        people: in all images, for networks that compute something for each.
    """
    images, given = _inputs(recipe, size, batch, people)
    return audit(meta_model(recipe), images, people=given)


def costs(
    recipe: Recipe, size: tuple[int, int] | None = None, *, batch: int = 1, people: int = 1
) -> Costs:
    """Return what `audit_recipe` counts, beside it without batch norms and as written."""
    model = meta_model(recipe)
    images, given = _inputs(recipe, size, batch, people)
    executed = audit(model, images, people=given)
    as_written = profile_of(recipe.config).as_written
    if as_written is None:
        written = executed
    else:
        written = audit_call(model, lambda: as_written(model, images, None, given))
    return Costs(
        parameters=executed.parameters,
        macs=executed.macs,
        flops=executed.flops,
        flops_folded=audit(inference_model(model), images, people=given).flops,
        macs_as_written=written.macs,
    )


def _inputs(
    recipe: Recipe, size: tuple[int, int] | None, batch: int, people: int
) -> tuple[torch.Tensor, torch.Tensor]:
    side = recipe.inference.resize.short_side
    images = torch.zeros(batch, 3, *(size or (side, side)), device="meta")
    # A real tensor: how many people each image has decides shapes.
    given = torch.zeros(people, 3, dtype=torch.int64)
    given[:, 0] = torch.arange(people) * batch // max(people, 1)
    return images, given


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return one tidy row: names, parameters, cost of a forward pass, reported figures."""
    known = _remembered(recipe)
    return {
        "recipe": recipe.name,
        "method": recipe.method,
        "backbone": recipe.config.backbone,
        "keypoints": recipe.skeleton.name if recipe.skeleton else "any",
        "input_size": recipe.inference.resize.short_side,
        "params_M": known["parameters"] / 1e6,
        "gmacs": known["macs"] / 1e9,
        "gflops": known["flops"] / 1e9,
        "reported": ", ".join(
            f"{r.value:g} {r.dataset} {r.split} ({r.source})" for r in recipe.reported
        ),
    }


def _remembered(recipe: Recipe) -> dict[str, int]:
    """Return parameters, MACs and FLOPs with one person, from the user's cache if they are there.

    Counting the whole zoo takes half a minute. What was counted holds for as long as the code that
    builds and counts, so the cache's name is made of that code.
    """
    skeleton = recipe.skeleton or COCO
    key = f"{recipe.method} {recipe.config} {skeleton.name} {recipe.inference.resize}"
    place = cache_folder() / f"costs-{_fingerprint()}.json"
    known: dict[str, dict[str, int]] = {}
    with suppress(OSError, ValueError):  # there is none yet, or it is damaged
        known = json.loads(place.read_text())
    if key not in known:
        found = audit_recipe(recipe)
        known[key] = {
            "parameters": found.parameters, "macs": found.macs, "flops": found.flops,
        }  # fmt: skip
        with suppress(PosebenchError):  # a home that cannot be written costs time, not the answer
            write_json(place, known)
    return known[key]


@cache
def _fingerprint() -> str:
    """Return a name for the code that builds networks and counts them."""
    state = hashlib.sha256()
    root = Path(posebench.__file__).parent
    for package in ("layers", "models", "bench"):
        for path in sorted((root / package).glob("*.py")):
            state.update(path.read_bytes())
    for library in ("torch", "torchvision", "timm"):
        state.update(version(library).encode())
    return state.hexdigest()[:16]
