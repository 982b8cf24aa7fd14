"""Run folders: where a command leaves what it made, and how it was made."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from posebench.files import write_json, written_beside
from posebench.recipe import Recipe, recipe_to_json
from posebench.structures import Skeleton

_PACKAGES = ("posebench", "torch", "torchvision", "timm", "numpy", "opencv-python-headless")


def new_run(root: Path, command: str, label: str, dataset: str) -> Path:
    """Make and return `root/command/label_dataset_time/`.

    Raises:
        PosebenchError: the folder cannot be made.
    """
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = root / command / f"{label}_{dataset}_{stamp}"
    number = 2
    while folder.exists():  # two runs within a second
        folder = folder.with_name(f"{label}_{dataset}_{stamp}-{number}")
        number += 1
    write_json(folder / "environment.json", environment())
    return folder


def write_recipe(run: Path, recipe: Recipe, skeleton: Skeleton) -> None:
    """Write the fully resolved recipe."""
    write_json(run / "recipe.json", recipe_to_json(recipe, skeleton))


def latest_run(root: Path, command: str) -> Path | None:
    """Return the newest run of a command that has a checkpoint."""
    runs = [path.parents[1] for path in (root / command).glob("*/checkpoints/last.safetensors")]
    return max(runs, key=lambda run: run.stat().st_mtime, default=None)


def environment() -> dict[str, Any]:
    """Return what a figure depends on beside the recipe: versions, hardware, code, command."""
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
        "commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "cpu": _cpu_name(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def git_commit() -> str:
    """Return the commit of the code, with `+` when it was changed since; empty outside git."""
    source = Path(__file__).parent

    def git(*words: str) -> str:
        result = subprocess.run(
            ["git", "-C", str(source), *words], capture_output=True, text=True, check=False
        )
        return result.stdout.strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        return commit + "+" * bool(commit and git("status", "--porcelain", "-uno"))
    except FileNotFoundError:  # no git on this machine
        return ""


def hardware(device: torch.device) -> str:
    """Return the device's name as it stands in result tables."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()}, {torch.get_num_threads()} threads"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def tidy_rows(
    metrics: Mapping[str, float],
    *,
    recipe: Recipe | None,
    dataset: str,
    split: str,
    tta: str,
    device: torch.device | None,
    precision: str,
) -> pd.DataFrame:
    """Return one row per metric, in percent; `recipe` is None for somebody else's result file."""
    common = {
        "recipe": recipe.name if recipe else "",
        "method": recipe.method if recipe else "",
        "backbone": getattr(recipe.config, "backbone", "") if recipe else "",
        "input_size": recipe.test_time.resize.short_side if recipe else "",
        "dataset": dataset,
        "split": split,
        "tta": tta,
    }
    made = {
        "unit": "percent",
        "source": "measured",
        "hardware": hardware(device) if device else "",
        "precision": precision,
        "date": datetime.now().date().isoformat(),
        "commit": git_commit(),
    }
    return pd.DataFrame(
        # -1 is the official tools' word for "there was nothing to find".
        {**common, "metric": name, "value": 100 * value if value >= 0 else None, **made}
        for name, value in metrics.items()
    )


def write_results(run: Path, rows: pd.DataFrame) -> None:
    """Write `results.csv`."""
    with written_beside(run / "results.csv") as beside:
        rows.to_csv(beside, index=False)
