"""Time CID's whole inference with the mirrored image against a direct port of the equations.

    python benchmarks/cid_inference.py [--recipe cid_hrnet_w32_coco] [--size 512] [--people 30]

The direct port ("plain") follows the paper: the unfolded backbone, its streams joined, both 1 x 1
convolutions on the joined map, and for every person a copy of the reduced map through Eqs. 9 to 12.
Both have the same weights and detect the same people. Prints medians and ratios; the two are timed
in turns, so that a drift of the machine's speed favours neither.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor

from posebench.engine.devices import has_bf16
from posebench.engine.evaluation import autocast, inference_model
from posebench.engine.runs import hardware
from posebench.layers.backbones.hrnet import joined
from posebench.layers.heatmaps import clamped_sigmoid
from posebench.models import RECIPES
from posebench.models.cid.decoding import CIDOutputs, find_centres
from posebench.models.cid.model import CID
from posebench.recipe import Precision
from posebench.skeleton import COCO
from posebench.structures import Batch, Geometry, Inference, Resize


def plain_inference(model: CID, images: Tensor, clocks: dict[str, list[float]]) -> CIDOutputs:
    """Return the paper's outputs for an image merged with those for its mirror image."""
    start = time.perf_counter()
    streams = model.features(torch.cat([images, images.flip(-1)]))
    clocks["backbone"].append(time.perf_counter() - start)
    features = joined(streams)
    features = torch.cat([features[:1], features[1:].flip(-1)])
    order = list(model.skeleton.flip_index)
    maps = clamped_sigmoid(model.keypoint_head(features))
    heatmaps = (maps[:1] + maps[1:][:, [*order, -1]]) / 2
    people, centre_scores = find_centres(heatmaps[:, -1], model.config.centre_pool)
    start = time.perf_counter()
    parts = []
    for view in torch.split(features, 1):
        person_features = view[0][:, people[:, 1], people[:, 2]].T
        shared = model.reduce(view)
        parts.append(model.decoupling.as_written(shared, person_features, people))
    merged = (parts[0] + parts[1][:, order]) / 2
    clocks["decoupling"].append(time.perf_counter() - start)
    return CIDOutputs(heatmaps, people, centre_scores, person_features, merged)


def calibrate(model: CID, size: int) -> None:
    """Set the statistics of batch norms; without them the maps of random weights overflow."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().features(torch.randn(2, 3, size, size))
    model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="cid_hrnet_w32_coco")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.manual_seed(0)
    recipe = RECIPES[options.recipe]
    model = recipe.build(COCO).eval()
    assert isinstance(model, CID)
    with torch.no_grad():
        # Random weights detect nobody; these have a peak in most windows, some of equal height.
        assert model.keypoint_head.bias is not None
        model.keypoint_head.bias[-1] = 0.0
        model.keypoint_head.weight[-1] *= 100
    calibrate(model, options.size)
    cpu = torch.device("cpu")
    images = torch.randn(1, 3, options.size, options.size)
    geometry = Geometry(
        torch.eye(2, 3, dtype=torch.float64)[None],
        torch.tensor([False]),
        torch.tensor([[options.size, options.size]]),
    )
    batch = Batch(images, [], {}, geometry, [0], ["x"], [0])
    inference = Inference(Resize(options.size))
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if has_bf16(cpu) else ("fp32",)
    ours = {precision: inference_model(model, precision) for precision in precisions}
    clocks: dict[str, list[float]] = {"plain": [], "backbone": [], "decoupling": []}
    clocks |= {precision: [] for precision in precisions} | {"decoding": []}
    with torch.inference_mode():
        for turn in range(options.rounds + 1):
            start = time.perf_counter()
            expected = plain_inference(model, images, clocks)
            clocks["plain"].append(time.perf_counter() - start)
            for precision, network in ours.items():
                start = time.perf_counter()
                with autocast(cpu, precision):
                    network.merged_outputs([batch], inference)
                clocks[precision].append(time.perf_counter() - start)
            start = time.perf_counter()
            model.decode(expected, geometry)
            clocks["decoding"].append(time.perf_counter() - start)
            if turn == 0:  # warms up
                outputs = ours["fp32"].merged_outputs([batch], inference)
                difference = (outputs.instance_heatmaps - expected.instance_heatmaps).abs().max()
                same = outputs.people.equal(expected.people)
                for times in clocks.values():
                    times.clear()
    count = len(expected.people)
    print(f"{hardware(cpu)}; {options.recipe}, {options.size} px, {count} people, with mirror")
    print(f"same people: {same}; largest difference of a score in fp32: {difference:.1e}")
    medians = {name: statistics.median(times) for name, times in clocks.items()}
    for name, value in medians.items():
        print(f"{name:12} {1000 * value:9.1f} ms   {value / medians['plain']:5.2f} of plain")
    share = medians["decoding"] / medians["fp32"]
    print(f"decoding takes {100 * share:.1f} % of the inference before it")


if __name__ == "__main__":
    main()
