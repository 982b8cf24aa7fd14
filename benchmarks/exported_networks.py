"""Exported networks beside PyTorch: size, largest difference, time. The table of docs/export.md.

    python benchmarks/exported_networks.py RECIPE ... [--formats onnx,openvino,pt2]

Weights are random where none come with the package. The networks have the fixed size of an image of
640 x 480 pixels resized as the recipe does, with the recipe's views. They take turns on one thread;
times are processor times.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from posebench.bench.speed.inputs import HEIGHT, WIDTH
from posebench.bench.speed.timed_model import _calibrate
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import inference_model, read_checkpoint
from posebench.exporting import NetworkInputs, exported_network, open_session
from posebench.exporting.card import SUFFIXES
from posebench.exporting.writing import export_network
from posebench.layers.folding import folded
from posebench.models import RECIPES, PoseModel, profile_of
from posebench.preprocess import scaled_batches
from posebench.recipe import Recipe
from posebench.shipped import shipped_weights
from posebench.skeleton import COCO
from posebench.structures import Sample

TURNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--formats", default="onnx,openvino")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| recipe | format | MB | largest difference | people | p50 ms | against PyTorch |")
    for name in arguments.recipes:
        with tempfile.TemporaryDirectory() as folder:
            measure(RECIPES[name], arguments.formats.split(","), Path(folder))


def measure(recipe: Recipe, formats: list[str], folder: Path) -> None:
    """Print a row for each format."""
    recipe = replace(recipe, skeleton=recipe.skeleton or COCO)
    model, sample = network_of(recipe), photograph()
    inference = recipe.inference
    [(_, batches)] = scaled_batches([sample], inference)
    height, width = batches[0].images.shape[-2:]
    views = 2 if inference.flip and not profile_of(recipe.config).graph.merges_mirror else 1
    inputs = NetworkInputs((height, width), views)
    passes: dict[str, Callable[[], Any]] = {}
    fast = inference_model(model)
    passes["torch"] = lambda: fast.merged_outputs(batches, inference)
    exported = {}
    for name in formats:
        start = time.perf_counter()
        path = folder / f"network{SUFFIXES[name]}"
        written = export_network(
            folded(model), recipe, path, inputs=inputs, samples=[sample], threads=1
        )
        print(f"{recipe.name} {name} written in {time.perf_counter() - start:.0f} s", flush=True)
        network = exported_network(written.card, open_session(path, written.card, threads=1))
        passes[name] = lambda network=network: network.merged_outputs(batches, inference)  # type: ignore[misc]
        exported[name] = written
    times = in_turns(passes)
    for name, written in exported.items():
        agreement = written.agreement
        worst = max(agreement.tensors.values())
        print(
            f"| `{recipe.name}` | {name} | {written.bytes / 1e6:.0f} | {worst:.1e} | "
            f"{agreement.people - agreement.unequal} of {agreement.people} | "
            f"{1000 * times[name]:.0f} | {times[name] / times['torch']:.2f} |",
            flush=True,
        )
    print(f"| `{recipe.name}` | torch | | | | {1000 * times['torch']:.0f} | 1 |", flush=True)


def in_turns(passes: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median processor seconds of each pass; the first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    with torch.inference_mode():
        for turn in range(TURNS + 1):
            for name, run in passes.items():
                start = time.process_time()
                run()
                if turn:
                    seconds[name].append(time.process_time() - start)
    return {name: median(own) for name, own in seconds.items()}


def network_of(recipe: Recipe) -> PoseModel:
    """Return the network in evaluation mode."""
    shipped = shipped_weights(recipe.name)
    if shipped:
        return read_checkpoint(shipped).model()
    torch.manual_seed(0)
    model = recipe.build(recipe.skeleton or COCO)
    _calibrate(model)
    return model


def photograph() -> Sample:
    """Return a crowd of COCO's most frequent image size."""
    top = (WIDTH - HEIGHT) // 2
    image = SyntheticCrowds(COCO, "val", size=WIDTH, crowd=0.3).load(0).image
    return Sample(image[top : top + HEIGHT])


if __name__ == "__main__":
    main()
