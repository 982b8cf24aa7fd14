"""Time whole inference on each backend against a plain transcription of the paper.

    python benchmarks/whole_inference.py cid [--turns 7] [--backends torch,compile,onnxruntime]

The models are those of `CASES`: cid (W32, 512 x 512, mirrored image merged, 30 people), group_pose
(ResNet-50, 480 x 800), posedet (DLA-34, 512 x 512), higher_hrnet (W32, 512 x 512) and dekr (W32,
512 x 512). The plain transcription computes what the paper writes with PyTorch's ordinary
operators, batch norms unfolded: for CID the streams joined, and a copy of the reduced map for every
person (Eqs. 9 to 12); for Group Pose sampling level by level with `grid_sample`, the poses of all
tokens and the heads of every layer; for PoseDet torchvision's `deform_conv2d`, with every candidate
refined; for DEKR the streams joined, and one keypoint's layers after the other with
`deform_conv2d`. All have the same random weights, with batch norms that fit them, and the people
decoded are compared; decoding is not timed.

Each backend has a process of its own with one thread, and they take turns. Times are the process's
CPU time: milliseconds, the ratio to the plain transcription, both medians over turns, and the share
of the machine's peak: the network's multiply-adds, as the paper writes them, over those that the
product of two large matrices does in the same time. The last column is the equal people.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from group_pose import plain_samples
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import deform_conv2d

from posebench.bench.flops.costs import count_recipe
from posebench.engine import inference_model
from posebench.engine.runs import hardware
from posebench.exporting import NetworkInputs, exported_network, open_session
from posebench.exporting.card import SUFFIXES, Card
from posebench.exporting.program import compiled_session, traced
from posebench.exporting.writing import export_network
from posebench.layers.backbones.hrnet import joined
from posebench.layers.folding import folded
from posebench.layers.heatmaps import clamped_sigmoid
from posebench.models import RECIPES, PoseModel
from posebench.models.cid.decoding import CIDOutputs, find_centres
from posebench.models.cid.model import CID
from posebench.models.dekr.adaptive import sampling_offsets
from posebench.models.dekr.decoding import DEKROutputs
from posebench.models.dekr.model import DEKR
from posebench.models.group_pose.model import GroupPose
from posebench.models.posedet.model import PoseDet
from posebench.recipe import Recipe
from posebench.skeleton import COCO
from posebench.structures import Batch, Geometry, Inference

FORMATS = {"onnxruntime": "onnx", "openvino": "openvino"}
PEAK_SIDE = 2048  # of the matrices

People = tuple[NDArray[Any], NDArray[Any]]  # keypoints, scores


@dataclass(frozen=True)
class Case:
    """A recipe at a size."""

    recipe: str
    size: tuple[int, int]  # height, width
    people: int = 1  # for the number of operations
    flip: bool = False

    def fitted(self) -> Recipe:
        recipe = RECIPES[self.recipe]
        inference = replace(recipe.inference, flip=self.flip)
        return replace(recipe, skeleton=COCO, inference=inference)

    def batch(self) -> Batch:
        """Return an image of noise."""
        height, width = self.size
        images = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        identity = torch.eye(2, 3, dtype=torch.float64)[None]
        geometry = Geometry(identity, torch.tensor([False]), torch.tensor([[width, height]]))
        return Batch(images, [], {}, geometry, [0], ["x"], [0])

    def macs(self) -> int:
        """Return the multiply-adds of all views as the paper writes them."""
        views = 1 + self.flip
        recipe = self.fitted()
        return views * count_recipe(recipe, self.size, people=self.people, as_written=True).macs


CASES = {
    "cid": Case("cid_hrnet_w32_coco", (512, 512), people=30, flip=True),
    "group_pose": Case("group_pose_resnet50_coco", (480, 800)),
    "posedet": Case("posedet_dla34_coco", (512, 512)),
    "higher_hrnet": Case("higher_hrnet_w32_coco", (512, 512)),
    "dekr": Case("dekr_hrnet_w32_coco", (512, 512)),
}


# ----------------------------------------------------------------------- the same random weights


def random_model(case: Case) -> PoseModel:
    """Return the network in evaluation mode; what it detects is as much as after training."""
    torch.manual_seed(0)
    model: PoseModel = case.fitted().build(COCO)
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        if isinstance(model, CID):
            # Random weights detect nobody; these have a peak in most windows.
            assert model.keypoint_head.bias is not None
            model.keypoint_head.bias[-1] = 0.0
            model.keypoint_head.weight[-1] *= 100
        elif isinstance(model, GroupPose):
            for head in (model.proposal_pose, *model.pose_heads):
                head.layers[-1].weight.normal_(std=0.02)  # otherwise all poses would be points
        elif isinstance(model, PoseDet):
            for layer in (model.coarse, model.refinement):
                layer.weight.normal_(std=0.3)
        elif isinstance(model, DEKR):
            for name, conv in model.named_modules():
                if isinstance(conv, torch.nn.Conv2d):
                    conv.reset_parameters()
                    if name.endswith((".matrix", ".shift")):
                        conv.weight.normal_(std=0.1)  # taps about a cell from regular ones
            for parameter in model.heatmap_head[-1].parameters():
                parameter.mul_(0.1)  # otherwise scores would be much above 1
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        model.features(torch.randn(2, 3, 256, 256))
    return model.eval()


# --------------------------------------------------------------------------- plain transcriptions


def plain_cid(model: CID, batch: Batch) -> CIDOutputs:
    """Return the paper's outputs for an image merged with those for its mirror image."""
    streams = model.features(torch.cat([batch.images, batch.images.flip(-1)]))
    features = joined(streams)
    features = torch.cat([features[:1], features[1:].flip(-1)])
    order = list(model.skeleton.flip_index)
    maps = clamped_sigmoid(model.keypoint_head(features))
    heatmaps = (maps[:1] + maps[1:][:, [*order, -1]]) / 2
    people, centre_scores = find_centres(heatmaps[:, -1], model.config.centre_pool)
    parts = []
    for view in torch.split(features, 1):
        person_features = view[0][:, people[:, 1], people[:, 2]].T
        parts.append(model.decoupling.as_written(model.reduce(view), person_features, people))
    merged = (parts[0] + parts[1][:, order]) / 2
    return CIDOutputs(heatmaps, people, centre_scores, person_features, merged)


def plain_feed_forward(x: Tensor, inner: torch.nn.Linear, outer: torch.nn.Linear) -> Tensor:
    output: Tensor = outer(inner(x).relu())
    return output


def plain_group_pose(model: GroupPose, batch: Batch) -> Any:
    """Return the outputs, with all tokens proposing poses and the heads of every layer computed."""
    with (
        mock.patch("posebench.layers.deformable.weighted_samples", plain_samples),
        mock.patch("posebench.layers.deformable.feed_forward", plain_feed_forward),
    ):
        features = model.features(batch.images)
        model.proposal_pose(model.proposal_features(features.memory))
        model.training = True  # every layer's heads; no other layer depends on it
        outputs = model.heads(features)
        model.training = False
    return outputs


def plain_posedet(model: PoseDet, batch: Batch) -> Any:
    """Return the outputs with every candidate refined, by torchvision's deformable convolution."""
    from posebench.models.posedet import point_conv

    with mock.patch.object(point_conv, "point_conv", point_conv.deformable_point_conv):
        return model.heads(model.features(batch.images), refine_all=True)


def plain_dekr(model: DEKR, batch: Batch) -> DEKROutputs:
    """Return the outputs, with the layers of one keypoint after those of the other."""
    features = joined(model.features(batch.images))
    heatmaps = model.heatmap_head(model.heatmap_transition.as_written(features))
    own = model.offset_transition.as_written(features).chunk(len(model.skeleton), 1)
    offsets = []
    for keypoint, maps in enumerate(own):
        for block in model.offset_blocks:
            maps = plain_adaptive(block, keypoint, len(own), maps)
        [weight, bias] = parts(model.offset_head, keypoint, len(own))
        offsets.append(F.conv2d(maps, weight, bias))
    return DEKROutputs(heatmaps, torch.cat(offsets, 1))


def plain_adaptive(block: Any, keypoint: int, keypoints: int, maps: Tensor) -> Tensor:
    """Return the output of one keypoint's adaptive block, batch norm included."""
    affine = []
    for layer in (block.matrix, block.shift):
        weight, bias = parts(layer, keypoint, keypoints)
        affine.append(F.conv2d(maps, weight, bias, padding=1))
    [weight] = parts(block.conv, keypoint, keypoints)
    offsets = sampling_offsets(torch.cat(affine, 1), 1)
    convolved = deform_conv2d(maps, offsets, weight, padding=(1, 1))
    mean, variance = (
        values.chunk(keypoints)[keypoint]
        for values in (block.bn.running_mean, block.bn.running_var)
    )
    scale, bias = parts(block.bn, keypoint, keypoints)
    return F.relu(F.batch_norm(convolved, mean, variance, scale, bias) + maps)


def parts(layer: Any, keypoint: int, keypoints: int) -> list[Tensor]:
    """Return the weight and the bias of one keypoint's part of a layer."""
    return [values.chunk(keypoints)[keypoint] for values in layer.parameters()]


def plain_forward(model: PoseModel, batch: Batch) -> Any:
    """Return the outputs of a method whose network is the paper's, layer by layer."""
    return model(batch.images)


def plain(model: PoseModel) -> Callable[[Batch, Inference], Any]:
    """Return the plain transcription of a model's inference."""
    ways: dict[type, Callable[[Any, Batch], Any]] = {
        CID: plain_cid,
        GroupPose: plain_group_pose,
        PoseDet: plain_posedet,
        DEKR: plain_dekr,
    }
    way: Callable[[Any, Batch], Any] = ways.get(type(model), plain_forward)
    return lambda batch, inference: way(model, batch)


# ----------------------------------------------------------------------------------- the backends


def prepared(case: Case, name: str, folder: Path) -> Callable[[Batch, Inference], Any]:
    """Return what computes a batch's merged outputs on a backend."""
    recipe, model = case.fitted(), random_model(case)
    if name == "plain":
        return plain(model)
    if name == "torch":
        fast = inference_model(model)
    elif name == "compile":
        program = traced(folded(model), recipe.inference, NetworkInputs(case.size, 1))
        card = Card(recipe, program.outputs, mirrored=case.flip)
        fast = exported_network(card, compiled_session(program))
    else:
        path = folder / f"network{SUFFIXES[FORMATS[name]]}"
        inputs = NetworkInputs(case.size, 1)
        written = export_network(folded(model), recipe, path, inputs=inputs, samples=[], threads=1)
        fast = exported_network(written.card, open_session(path, written.card, threads=1))
    return lambda batch, inference: fast.merged_outputs([batch], inference)


def serve(case: Case, name: str, connection: Connection) -> None:
    """Send the predicted people, or the error that prevented them, and then time passes on request.

    A reply holds the CPU seconds of a pass and of a matrix product.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    warnings.simplefilter("ignore")
    batch, inference = case.batch(), case.fitted().inference
    left, right = torch.randn(2, PEAK_SIDE, PEAK_SIDE)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        try:
            run = prepared(case, name, Path(folder))
            connection.send(decoded(case, run(batch, inference), batch))
        except Exception as error:  # a backend that lacks an operator is a row of the table
            connection.send(f"{type(error).__name__}: {error}")
        while connection.recv():
            connection.send((seconds(lambda: run(batch, inference)), seconds(lambda: left @ right)))


def seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def decoded(case: Case, outputs: Any, batch: Batch) -> People:
    """Return the keypoints (N, K, 2) in pixels and scores (N,) of the people."""
    with torch.device("meta"):  # the weights are not read
        model: PoseModel = case.fitted().build(COCO)
    [people] = model.decode(outputs, batch.geometry)
    return people.keypoints.numpy(), people.scores.numpy()


def equal_people(found: People, expected: People) -> int:
    """Return how many of the expected people were found, within 0.01 px and 1e-4 of the score."""
    equal = 0
    for keypoints, score in zip(*expected, strict=True):
        near = (abs(found[0] - keypoints) < 0.01).all((1, 2)) & (abs(found[1] - score) < 1e-4)
        equal += bool(near.any())
    return equal


@contextmanager
def workers(case: Case, names: Sequence[str]) -> Iterator[dict[str, Connection]]:
    """Start a process for each backend, and end them."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in names:
        pipes[name], there = context.Pipe()
        processes.append(context.Process(target=serve, args=(case, name, there), daemon=True))
        processes[-1].start()
    try:
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.send(False)
        for process in processes:
            process.join()


def measure(case: Case, names: Sequence[str], turns: int) -> None:
    """Print a row for each backend."""
    times: dict[str, list[float]] = {name: [] for name in names}
    peaks: list[float] = []
    with workers(case, names) as pipes:
        outputs = {name: pipe.recv() for name, pipe in pipes.items()}
        failed = {name: said for name, said in outputs.items() if isinstance(said, str)}
        for turn in range(turns + 1):
            for name in times:
                if name in failed:
                    continue
                pipes[name].send(True)
                own, product = pipes[name].recv()
                if turn:  # the first one warms up
                    times[name].append(own)
                    peaks.append(product)
    rate = PEAK_SIDE**3 / statistics.median(peaks)
    macs = case.macs()
    print(f"{hardware(torch.device('cpu'))}, one thread; matrix product {rate / 1e9:.1f} GMAC/s")
    print(f"`{case.recipe}`, {case.size[0]} x {case.size[1]}, {macs / 1e9:.1f} GMACs as written")
    for name, own in times.items():
        if name in failed:
            print(f"| {name} | {failed[name]} |")
            continue
        median = statistics.median(own)
        expected = outputs["plain"]
        ratio = statistics.median(a / b for a, b in zip(own, times["plain"], strict=True))
        print(
            f"| {name} | {1000 * median:.0f} | {ratio:.2f} | {100 * macs / rate / median:.0f} % | "
            f"{equal_people(outputs[name], expected)} of {len(expected[1])} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--backends", default="torch,compile,onnxruntime,openvino")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    for name in options.cases:
        measure(CASES[name], ["plain", *options.backends.split(",")], options.turns)


if __name__ == "__main__":
    main()
