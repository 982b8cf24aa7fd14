"""Time Group Pose's inference against the published fallback without a compiled extension.

    python benchmarks/group_pose.py [--recipe group_pose_resnet50_coco] [--size 480x800]

In the fallback ("plain"), each level is sampled by `grid_sample`, and the samples are stored,
weighted and added; all tokens propose poses, and the heads of every layer are computed. Both have
the same weights and predict the same people. Prints the medians of the parts and of the whole, and
their ratios, then the time of sampling relative to a bound from memory bandwidth. The two are timed
in turns, so that a drift of the machine's speed favours neither.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.engine.devices import has_bf16
from posebench.engine.evaluation import autocast, inference_model
from posebench.engine.runs import hardware
from posebench.layers.deformable import DeformableAttention, Tokens
from posebench.layers.pyramid import EncodedPyramid
from posebench.layers.sampling import Sizes, gathered_samples, weighted_samples
from posebench.models import RECIPES
from posebench.models.group_pose.decoding import GroupPoseOutputs
from posebench.models.group_pose.model import GroupPose
from posebench.recipe import Precision
from posebench.skeleton import COCO
from posebench.structures import Geometry

THREADS = 2
Clocks = dict[str, list[float]]


def plain_samples(
    values: Tensor, sizes: Sizes, references: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Sample level by level, then weight and add: Deformable DETR's PyTorch reference."""
    batch, _, heads, depth = values.shape
    _, queries, _, levels, points, _ = offsets.shape
    size = torch.tensor([(width, height) for height, width in sizes])
    places = references[:, :, None, :, None] + offsets / size[:, None]
    grids = 2 * places.expand(batch, -1, -1, -1, -1, -1) - 1
    sampled = []
    areas = [height * width for height, width in sizes]
    for level, (height, width) in enumerate(sizes):
        own = torch.split(values, areas, 1)[level].flatten(2).transpose(1, 2)
        maps = own.reshape(batch * heads, depth, height, width)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(maps, grid, align_corners=False))
    share = weights.transpose(1, 2).reshape(batch * heads, 1, queries, levels * points)
    summed = (torch.stack(sampled, -2).flatten(-2) * share).sum(-1)
    return summed.view(batch, heads * depth, queries).transpose(1, 2).contiguous()


@contextmanager
def sampled_by(way: Callable[..., Tensor], times: list[float]) -> Iterator[None]:
    """Make deformable attention sample by `way`, and append the time of each call to `times`."""

    def timed(*arguments: Any) -> Tensor:
        start = time.perf_counter()
        samples = way(*arguments)
        times.append(time.perf_counter() - start)
        return samples

    with mock.patch("posebench.layers.deformable.weighted_samples", timed):
        yield


def inference(
    model: GroupPose, images: Tensor, way: Callable[..., Tensor], clocks: Clocks, *, plain: bool
) -> GroupPoseOutputs:
    """Run the network part by part, and append the time of each to `clocks`."""
    calls: list[float] = []

    def clock(name: str, run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        output = run()
        clocks[name].append(time.perf_counter() - start)
        return output

    with sampled_by(way, calls):
        start = time.perf_counter()
        maps = clock("backbone", lambda: model.backbone(images))
        tokens = clock("projection", lambda: model.tokens(maps))
        memory = clock("encoder", lambda: model.encoder(tokens))
        features = EncodedPyramid(tokens, memory)
        if plain:
            everywhere = model.proposal_features(memory)
            clock("poses of all tokens", lambda: model.proposal_pose(everywhere))
        model.training = plain  # every layer's heads
        outputs: GroupPoseOutputs = clock("decoder", lambda: model.heads(features))
        model.training = False
        clocks["whole"].append(time.perf_counter() - start)
    clocks["sampling"].append(sum(calls))
    return outputs


def bandwidth() -> float:
    """Return the bytes per second that a copy far larger than any cache reads and writes."""
    source = torch.zeros(2**26)
    target = torch.empty_like(source)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)


def sampling_alone(sizes: Sizes, heads: int = 8, depth: int = 32, points: int = 4) -> None:
    """Time one encoder layer's sampling in each way, relative to the bound of memory bandwidth."""
    count = sum(height * width for height, width in sizes)
    shape = (1, count, heads, len(sizes), points)
    tokens = Tokens(
        torch.empty(0), torch.empty(0), None,
        torch.tensor([[(width, height) for height, width in sizes]]).float(), tuple(sizes),
    )  # fmt: skip
    arguments = (
        torch.randn(1, count, heads, depth),
        sizes,
        tokens.on_every_level(tokens.centres),
        2 * torch.randn(*shape, 2),
        torch.rand(*shape),
    )
    ways = {"plain": plain_samples, "gather": gathered_samples, "compiled": weighted_samples}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(8):
        for name, way in ways.items():
            start = time.perf_counter()
            samples = way(*arguments)
            if turn:
                times[name].append(time.perf_counter() - start)
    moved = sum(t.nbytes for t in (samples, *arguments) if isinstance(t, Tensor))
    bound = moved / bandwidth()
    print(f"\nsampling of one encoder layer, {count} tokens; every byte moved once: "
          f"{1000 * bound:.1f} ms")  # fmt: skip
    for name, own in times.items():
        value = statistics.median(own)
        share = value / statistics.median(times["plain"])
        of_bound = f"{value / bound:6.1f} x bound"
        print(f"{name:20} {1000 * value:9.1f} ms   {share:5.2f} of plain   {of_bound}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="group_pose_resnet50_coco")
    parser.add_argument("--size", default="480x800", help="height x width")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    height, width = (int(side) for side in options.size.split("x"))
    recipe = RECIPES[options.recipe]
    model = recipe.build(COCO).eval()
    assert isinstance(model, GroupPose)
    with torch.no_grad():
        for head in (model.proposal_pose, *model.pose_heads):
            head.layers[-1].weight.normal_(std=0.02)  # as initialised, all poses would be points
        for module in model.modules():
            if isinstance(module, DeformableAttention):
                module.sampling_offsets.weight.normal_(std=0.02)
                module.attention_weights.weight.normal_(std=0.05)
    cpu = torch.device("cpu")
    images = torch.randn(1, 3, height, width)
    geometry = Geometry(
        torch.eye(2, 3, dtype=torch.float64)[None],
        torch.tensor([False]),
        torch.tensor([[width, height]]),
    )
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if has_bf16(cpu) else ("fp32",)
    ours = {precision: inference_model(model, precision) for precision in precisions}
    parts = ("whole", "backbone", "projection", "encoder", "poses of all tokens", "decoder")
    clocks: dict[str, Clocks] = {
        name: {part: [] for part in (*parts, "sampling", "decoding")} for name in ("plain", *ours)
    }
    with torch.inference_mode():
        for turn in range(options.rounds + 1):
            outputs = {
                "plain": inference(model, images, plain_samples, clocks["plain"], plain=True)
            }
            for precision, network in ours.items():
                with autocast(cpu, precision):
                    own = images.to(torch.bfloat16 if precision == "bf16" else torch.float32)
                    outputs[precision] = inference(
                        network,
                        own,
                        weighted_samples,
                        clocks[precision],
                        plain=False,
                    )
            for name, predicted in outputs.items():
                start = time.perf_counter()
                model.decode(predicted, geometry)
                clocks[name]["decoding"].append(time.perf_counter() - start)
            if turn == 0:  # warms up, and compiles
                for times in (t for own in clocks.values() for t in own.values()):
                    times.clear()
    expected = outputs["plain"]
    apart = (outputs["fp32"].keypoints[-1] - expected.keypoints[-1]).abs().max()
    print(f"{hardware(cpu)}, {THREADS} threads; {options.recipe}, {height} x {width}")
    print(f"largest difference of a keypoint in fp32: {apart:.1e} of the image's side")
    print(f"{'ms':20}" + "".join(f"{name:>18}" for name in clocks))
    for part in (*parts, "sampling", "decoding"):
        medians = [statistics.median(own[part]) if own[part] else 0.0 for own in clocks.values()]
        cells = [f"{1000 * value:9.1f} ({value / max(medians[0], 1e-9):4.2f})" for value in medians]
        print(f"{part:20}" + "".join(f"{cell:>18}" for cell in cells))
    sampling_alone(expected.views[0].tokens.sizes)


if __name__ == "__main__":
    main()
