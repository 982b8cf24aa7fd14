"""What each of the processes in test_processes.py runs; the first writes what they found."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.distributed import process_group, rank, world_size
from posebench.engine import evaluate
from posebench.engine.training import TrainStep
from posebench.models import RECIPES, PoseModel
from posebench.skeleton import COCO
from posebench.structures import Batch, Geometry, Inference, Resize
from tests.builders import make_batch

# Of the joint batch's images; the first process has the first half.
CROWDS = {"all": (2, 1, 1, 3), "some": (0, 0, 2, 1), "nobody": (0, 0, 0, 0)}


def new_model(name: str) -> PoseModel:
    torch.manual_seed(0)
    recipe = RECIPES[name]
    model: PoseModel = recipe.build(COCO)
    model.double().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def own_part(batch: Batch) -> Batch:
    """Return the images of this process."""
    size = len(batch) // world_size()
    mine = slice(rank() * size, (rank() + 1) * size)
    return Batch(
        batch.images[mine].double(),
        batch.poses[mine],
        {stride: mask[mine] for stride, mask in batch.masks.items()},
        Geometry(
            batch.geometry.to_image[mine],
            batch.geometry.flipped[mine],
            batch.geometry.sizes[mine],
        ),
        batch.image_ids[mine],
        batch.names[mine],
        batch.seeds[mine],
    )


def gradients(people: tuple[int, ...], name: str = "cid_tiny") -> dict[str, torch.Tensor]:
    """Return the gradients of the joint batch."""
    model = new_model(name)
    step: nn.Module = TrainStep(model)
    if world_size() > 1:
        step = DistributedDataParallel(step)
    batch = own_part(make_batch(people, size=64))
    torch.stack(list(step(batch).values())).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def evaluation() -> tuple[dict[str, float], list[dict[str, object]]]:
    recipe = RECIPES["cid_tiny"]
    torch.manual_seed(0)
    model: PoseModel = recipe.build(COCO)
    crowds = SyntheticCrowds(COCO, "val", 7, size=64)
    found = evaluate(model, crowds, Inference(Resize(64)), batch_size=2)
    return found.metrics, list(found.results)


def main() -> None:
    with process_group():
        found = {name: gradients(people) for name, people in CROWDS.items()}
        # Its graph is drawn: all processes must draw the same.
        drawn = {name: gradients(people, "dgcn_tiny") for name, people in CROWDS.items()}
        metrics, results = evaluation()
        if rank() == 0:
            everything = {
                "gradients": found,
                "drawn": drawn,
                "metrics": metrics,
                "results": results,
            }
            torch.save(everything, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
