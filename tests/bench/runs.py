"""Run folders as commands leave them, without running anything."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from posebench.engine import tidy_rows, write_recipe, write_results
from posebench.files import write_json
from posebench.recipe import Recipe
from posebench.structures import COCO


def write_evaluation(
    folder: Path,
    recipe: Recipe,
    metrics: dict[str, float],
    *,
    dataset: str = "coco",
    split: str = "val",
    tta: str = "",
    command: tuple[str, ...] = ("posebench", "eval"),
) -> Path:
    """Write what `eval` writes, of metrics as fractions."""
    rows = tidy_rows(
        metrics,
        recipe=recipe,
        dataset=dataset,
        split=split,
        tta=tta or recipe.inference.label,
        device=torch.device("cpu"),
        precision="fp32",
    )
    write_recipe(folder, recipe, recipe.skeleton or COCO)
    write_json(folder / "environment.json", {"command": list(command)})
    write_results(folder, rows)
    return folder


def write_times(folder: Path, rows: list[dict[str, object]]) -> Path:
    """Write what `speed` writes; a row has at least recipe, metric and value."""
    usual = {
        "method": "", "backbone": "", "input_size": "512x512", "dataset": "synthetic",
        "split": "val", "tta": "none", "protocol": "paper", "case": 1, "people": 5,
        "batch_size": 1, "options": "channels last", "unit": "", "source": "measured",
        "hardware": "a CPU", "precision": "fp32", "date": "2026-01-01", "commit": "", "error": "",
    }  # fmt: skip
    write_results(folder, pd.DataFrame([{**usual, **row} for row in rows]))
    return folder
