"""Time PoseDet refining some candidates against PoseDet refining all of them, as published.

    python benchmarks/posedet_refinement.py [--recipe posedet_tiny] [--images 8] [--chosen 40]

First times a training step in bfloat16, in which `--chosen` candidates of every image are refined.
Then times the network in float32, which refines the best candidates of each level, on one 4 : 3
image of the recipe's test size. Prints medians of processor time in milliseconds, on one thread and
in turns, and the largest difference of a gradient, or of an offset that decoding reads, relative to
the largest value.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from posebench.data.loader import MicroBatchSampler, micro_batches
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine.evaluation import inference_model
from posebench.engine.runs import hardware
from posebench.models import RECIPES
from posebench.models.posedet import model as posedet
from posebench.models.posedet.model import PoseDet
from posebench.models.posedet.profile import as_written
from posebench.models.posedet.recipes import PoseDetConfig
from posebench.models.posedet.targets import (
    BACKGROUND,
    OksAssignment,
    PoseDetTargets,
    assign_by_oks,
)
from posebench.recipe import Recipe
from posebench.skeleton import COCO
from posebench.structures import Batch


class AsPublished(PoseDet):
    """Refines every candidate, in training too."""

    def refine(
        self, features: Sequence[Tensor], coarse: Sequence[Tensor], chosen: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        return super().refine(features, coarse)


def chosen_candidates(count: int) -> Any:
    """Return an assigner by which the first `count` candidates of every image are refined."""

    def assign(coarse: Tensor, targets: PoseDetTargets, *others: Any) -> OksAssignment:
        assigned = assign_by_oks(coarse, targets, *others)
        refined = torch.full_like(assigned.refined, BACKGROUND)
        for people, row in zip(targets.people, refined, strict=True):
            row[:count] = people[0] if len(people) else BACKGROUND
        return replace(assigned, refined=refined)

    return assign


def measure(model: PoseDet, batch: Batch) -> tuple[float, list[Tensor]]:
    model.zero_grad()
    start = time.process_time()
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.loss(batch)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    spent = 1000 * (time.process_time() - start)
    return spent, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@torch.inference_mode()
def infer(recipe: Recipe, rounds: int) -> None:
    """Print the network's times."""
    side = recipe.inference.resize.short_side
    built = cast(PoseDet, recipe.build(recipe.skeleton or COCO))
    # Random weights, but with points as far apart as after training.
    torch.nn.init.normal_(built.coarse.weight, std=0.3)
    torch.nn.init.normal_(built.refinement.weight, std=0.3)
    model = inference_model(built).to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, side, side * 4 // 3 // 64 * 64).to(memory_format=torch.channels_last)
    times = []
    for _ in range(rounds + 1):
        row = []
        for network in (model, partial(as_written, model, padding=None, people=None)):
            start = time.process_time()
            network(images)
            row.append(1000 * (time.process_time() - start))
        times.append(row)
    chosen, every = np.median(times[1:], axis=0).tolist()
    outputs, written = model(images), as_written(model, images, None, None)
    read = [a != c for a, c in zip(outputs.refined, outputs.coarse, strict=True)]
    pairs = zip(outputs.refined, written.refined, read, strict=True)
    apart = max(float((a - b)[mask].abs().max()) for a, b, mask in pairs)
    apart /= max(float(level.abs().max()) for level in written.refined)
    print(f"network: best {chosen:.0f} ms, every {every:.0f} ms, {every / chosen:.2f}, {apart:.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="posedet_tiny")
    for name, default in (("images", 8), ("chosen", 40), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(hardware(torch.device("cpu")))
    recipe = RECIPES[options.recipe]
    people = SyntheticCrowds(recipe.skeleton or COCO, "train")
    config = cast(PoseDetConfig, recipe.config)
    ours = PoseDet(config, people.skeleton).to(memory_format=torch.channels_last).train()
    published = AsPublished(config, people.skeleton).to(memory_format=torch.channels_last).train()
    published.load_state_dict(ours.state_dict())
    sampler = MicroBatchSampler(list(range(options.images)), options.images, 0, 1, 0, 1)
    batch = next(micro_batches(people, recipe.augment, sampler, workers=0)).batch
    assert batch is not None
    times: list[list[float]] = []
    with mock.patch.object(posedet, "assign_by_oks", chosen_candidates(options.chosen)):
        for _ in range(options.rounds + 1):
            (a, first), (b, second) = measure(ours, batch), measure(published, batch)
            times.append([a, b])
    chosen, every = np.median(times[1:], axis=0).tolist()
    largest = max(float(gradient.abs().max()) for gradient in second)
    apart = max(float((x - y).abs().max()) for x, y in zip(first, second, strict=True)) / largest
    print(f"step: chosen {chosen:.0f} ms, every {every:.0f} ms, {every / chosen:.2f}, {apart:.0e}")
    infer(recipe, options.rounds)


if __name__ == "__main__":
    main()
