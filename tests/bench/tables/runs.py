"""Run folders as commands leave them, without running anything, and what tables make of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from posebench.bench.tables.joined import MEASURED, join
from posebench.bench.tables.measured import Runs
from posebench.bench.tables.papers import load_table
from posebench.engine import tidy_rows, write_recipe, write_results
from posebench.files import write_json
from posebench.recipe import Recipe
from posebench.skeleton import COCO


def write_evaluation(
    folder: Path,
    recipe: Recipe,
    metrics: dict[str, float],
    *,
    dataset: str = "coco",
    split: str = "val",
    tta: str = "",
    command: tuple[str, ...] = ("posebench", "eval"),
    intervals: dict[str, tuple[float, float]] | None = None,
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
        intervals=intervals,
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


def measured_cells(name: str, figure: str, runs: Runs) -> list[float | None]:
    """Return the measured column of a figure in a table; None where it is empty."""
    joined = join(load_table(name), runs)
    return [None if pd.isna(v) else float(v) for v in joined.rows[figure + MEASURED]]
