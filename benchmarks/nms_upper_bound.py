"""PoseDet's Figure 3: the AP of perfect poses after suppression by OKS and by IoU.

    python benchmarks/nms_upper_bound.py [--split val] [--data-root DIR] [--out docs]

Ideal outputs for CrowdPose's people are decoded with every threshold, without pixels or weights.
Writes nms_upper_bound.csv, a tidy table, and images/nms_upper_bound.png. A single point is
`posebench eval posedet --oracle --dataset crowdpose --set nms=iou --set nms_threshold=0.5`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from posebench.data import open_dataset
from posebench.metrics import evaluate_keypoints
from posebench.models import find_recipe, profile_of
from posebench.models.posedet.decoding import people_of_views
from posebench.models.posedet.model import PoseDet
from posebench.preprocess import blank_batch

DATASET = "crowdpose"
THRESHOLDS = [round(0.05 * i, 2) for i in range(1, 21)]
MEASURES = {"oks": "OKS of poses", "iou": "IoU of boxes"}
SHOWN = {"APH": "AP hard", "AP": "AP"}


def measure(split: str, root: Path | None) -> tuple[pd.DataFrame, str]:
    """Return one row per measure, threshold and metric, and the recipe's name."""
    recipe = find_recipe("posedet", DATASET)
    data = open_dataset(DATASET, split, root=root, skeleton=recipe.skeleton)
    ways = [(nms, threshold) for nms in MEASURES for threshold in THRESHOLDS]
    results: dict[tuple[str, float], list[dict[str, Any]]] = {way: [] for way in ways}
    with torch.device("meta"):
        model = recipe.build(data.skeleton)
    assert isinstance(model, PoseDet)
    with torch.inference_mode():
        for index in range(len(data)):
            batch = blank_batch(data.load(index, pixels=False), recipe.inference.resize)
            outputs = profile_of(model.config).ideal_outputs(model, batch)
            candidates = model.candidates(outputs, batch.geometry)
            for nms, threshold in ways:
                config = replace(model.config, nms=nms, nms_threshold=threshold)
                [(people, _)] = people_of_views([candidates], config, model.skeleton)
                results[nms, threshold] += people.to_coco(batch.image_ids[0])
    rows = []
    for (nms, threshold), predictions in results.items():
        metrics = evaluate_keypoints(data.ground_truth(), predictions, data.protocol)
        rows += [
            {"dataset": DATASET, "split": split, "nms": nms, "threshold": threshold,
             "metric": name, "value": round(100 * metrics[name], 3)}
            for name in ("AP", "APE", "APM", "APH", "AR")
        ]  # fmt: skip
        print(
            f"{nms} {threshold:4.2f}  AP {100 * metrics['AP']:.1f}  APH {100 * metrics['APH']:.1f}"
        )
    return pd.DataFrame(rows), recipe.name


def draw(rows: pd.DataFrame, path: Path) -> None:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (metric, title) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
        for nms, label in MEASURES.items():
            curve = rows[(rows.nms == nms) & (rows.metric == metric)]
            axis.plot(curve.threshold, curve.value, label=label, marker=".")
        axis.set_title(title, loc="left")
        axis.set_xlabel("threshold")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    axis.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="val")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    rows, name = measure(options.split, options.data_root)
    rows.insert(0, "recipe", name)
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / "nms_upper_bound.csv", index=False)
    draw(rows, options.out / "images" / "nms_upper_bound.png")


if __name__ == "__main__":
    main()
