"""What a recipe costs and what its authors reported, without weights or data."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from posebench.models import PoseModel
from posebench.recipe import Recipe
from posebench.structures import COCO


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return one tidy row: names, parameters, cost of a forward pass, reported figures."""
    skeleton = recipe.skeleton or COCO
    size = recipe.test_time.resize.short_side
    with torch.device("meta"):
        model: PoseModel = recipe.build(recipe.config, skeleton).eval()
        images = torch.zeros(1, 3, size, size)
    # A real tensor: how many people each image has decides shapes.
    person = torch.zeros(1, 3, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(images, people=person)
    return {
        "recipe": recipe.name,
        "method": recipe.method,
        "backbone": recipe.config.backbone,
        "keypoints": recipe.skeleton.name if recipe.skeleton else "any",
        "input_size": size,
        "params_M": sum(p.numel() for p in model.parameters()) / 1e6,
        # The counter counts a multiply-add as two; the papers as one.
        "gflops": counter.get_total_flops() / 2e9,
        "reported": ", ".join(
            f"{r.value:g} {r.dataset} {r.split} ({r.source})" for r in recipe.reported
        ),
    }
