"""Train tiny recipes on drawn kites from random weights: what they reach, and the CPU time.

    python benchmarks/kites_learning.py [FOLDER] [--recipes cid_tiny,posedet_tiny]

Each training is the command that a user types, on one thread, one after the other; FOLDER keeps the
dataset and the runs. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from drawn_kites import write_dataset

# Recipe -> options; without any, the length is the recipe's epochs. `tests/test_learning.py` has
# the same, with the least AP.
RECIPES: dict[str, tuple[str, ...]] = {
    "cid_tiny": (),
    "dgcn_tiny": (),
    "group_pose_tiny": (
        "--steps", "2000", "--set", "batch_size=4", "--set", "micro_batch_size=4",
    ),
    "higher_hrnet_tiny": (),
    "mask_rcnn_tiny": (),
    "pifpaf_tiny": (),
    "posedet_tiny": ("--steps", "700"),
}  # fmt: skip


def cpu_minutes() -> float:
    """Return the CPU time of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def train(recipe: str, dataset: Path, runs: Path) -> str:
    """Train a recipe, and return its row of the table."""
    before = cpu_minutes()
    subprocess.run(
        [
            sys.executable, "-m", "posebench", "train", recipe,
            "--dataset", str(dataset), "--device", "cpu", "--runs", str(runs), *RECIPES[recipe],
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )  # fmt: skip
    minutes = cpu_minutes() - before
    [run] = (runs / "train").iterdir()
    metrics = json.loads((run / "metrics.json").read_text())
    values = [f"{100 * metrics[name]:.1f}" for name in ("AP", "AP50", "AP75")]
    lines = (run / "log.jsonl").read_text().splitlines()
    steps = max(json.loads(line).get("step", 0) for line in lines)
    return f"| `{recipe}` | {' | '.join(values)} | {steps} | {minutes:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train tiny recipes on drawn kites.")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--recipes", default=",".join(RECIPES))
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    dataset = write_dataset(folder / "kites")
    rows = [
        train(recipe, dataset, folder / "runs" / recipe) for recipe in arguments.recipes.split(",")
    ]
    print(
        "| recipe | AP | AP50 | AP75 | steps | CPU minutes |\n| --- | --- | --- | --- | --- | --- |"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
