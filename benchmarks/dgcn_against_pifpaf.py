"""Train DGCN and its baseline on synthetic crowds with several seeds, and compare them.

    python benchmarks/dgcn_against_pifpaf.py [--seeds 3] [--epochs 6] [--crowd 0.3] [--out runs]
        [--variants pifpaf_tiny dgcn_tiny dgcn_tiny:adjacency=soft ...]

A variant is a recipe, with changed fields after a colon. With one seed, all variants are trained on
the same images in the same order. Finished runs are not repeated and stopped ones continue, so the
command is safe to run again. Prints each run's AP, and for every variant the mean difference to the
first one with the standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import TrainOptions, train
from posebench.engine.runs import hardware
from posebench.models import find_recipe
from posebench.recipe import Recipe, override
from posebench.skeleton import COCO


def variant(text: str, epochs: int | None) -> Recipe:
    name, _, settings = text.partition(":")
    recipe = find_recipe(name, "synthetic")
    for setting in filter(None, settings.split(",")):
        recipe = override(recipe, setting)
    if epochs:
        recipe = replace(recipe, epochs=epochs, evaluate_every=epochs)
    return recipe


def average_precision(text: str, seed: int, options: argparse.Namespace) -> float:
    """Return the AP of a variant with a seed; train it if that has not been done."""
    label = text.replace(":", "_").replace("=", "-").replace(",", "_")
    folder = Path(options.out) / f"{label}_crowd{options.crowd:g}_seed{seed}"
    finished = folder / "metrics.json"
    if not finished.is_file():
        images, unseen = (
            SyntheticCrowds(COCO, split, length=length, crowd=options.crowd)
            for split, length in (("train", options.images), ("val", 0))
        )
        device = torch.device(options.device)
        began = time.perf_counter()
        train(
            variant(text, options.epochs),
            images,
            unseen,
            folder,
            TrainOptions(device, seed=seed, precision=options.precision),
            resume=(folder / "checkpoints" / "last.safetensors").is_file(),
        )
        print(f"{label} seed {seed}: {(time.perf_counter() - began) / 60:.1f} min", flush=True)
    ap: float = json.loads(finished.read_text())["AP"]
    return ap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", nargs="+", default=["pifpaf_tiny", "dgcn_tiny"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--images", type=int, default=0, help="training images (default: 4000)")
    parser.add_argument("--crowd", type=float, default=0.3, help="crowd density, 0 to 1")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--out", default="runs/dgcn_against_pifpaf")
    options = parser.parse_args()
    print(f"{hardware(torch.device(options.device))}, crowd {options.crowd:g}")
    ap_of = {
        text: [100 * average_precision(text, seed, options) for seed in range(options.seeds)]
        for text in options.variants
    }
    baseline = ap_of[options.variants[0]]
    for text, values in ap_of.items():
        gains = [value - base for value, base in zip(values, baseline, strict=True)]
        spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
        listed = "  ".join(f"{value:.1f}" for value in values)
        print(
            f"{text}: AP {listed}, mean {statistics.mean(values):.1f}; "
            f"difference {statistics.mean(gains):+.1f} +- {spread:.1f}"
        )


if __name__ == "__main__":
    main()
