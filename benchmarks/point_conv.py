"""Time the forms of PoseDet's pose embedding, and PoseDet with the compiled one and without.

    python benchmarks/point_conv.py [--rounds 5] [--runtimes] [--networks RECIPE,...]

All take turns on one thread. First the convolution alone at 17 points on the finest level of an
image of 512 x 512, with the channels of PoseDet-DLA34 and -W32: torchvision's deformable
convolution, samples by PyTorch's operations, and, without gradients, the compiled loop;
`--runtimes` adds ONNX Runtime and OpenVINO (extras `onnx` and `openvino`). Then the networks of
recipes with random weights. Prints medians of processor time in
milliseconds, ratios to the form that was used before, and the largest difference relative to the
largest value.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from posebench.engine.evaluation import inference_model
from posebench.engine.runs import hardware
from posebench.layers.portable import portable_operators
from posebench.layers.sampling import torch_operations_only
from posebench.models import RECIPES
from posebench.models.posedet.model import PoseDet
from posebench.models.posedet.point_conv import (
    compiled_point_conv,
    deformable_point_conv,
    point_conv,
    sampled_point_conv,
)
from posebench.skeleton import COCO

POINTS, SIZE = 17, (64, 64)
SPREAD = 4.0  # cells between a candidate and its points
Way = Callable[..., Tensor]


def in_turns(ways: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Return the median processor time of each in milliseconds; the first round warms up."""
    times = []
    for _ in range(rounds + 1):
        row = []
        for way in ways:
            start = time.process_time()
            way()
            row.append(1000 * (time.process_time() - start))
        times.append(row)
    medians: list[float] = np.median(times[1:], axis=0).tolist()
    return medians


def with_gradients(way: Way, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(way(*inputs).sum(), inputs)


class Alone(nn.Module):
    """The convolution as a network, for the runtimes."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, features: Tensor, offsets: Tensor) -> Tensor:
        return point_conv(features, offsets, self.weight)


def runtimes(features: Tensor, offsets: Tensor, weight: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return the convolution in ONNX Runtime and OpenVINO, on one thread."""
    import onnxruntime
    import openvino

    network, given = Alone(weight), (features.contiguous(), offsets.contiguous())
    with portable_operators(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        exported = torch.export.export(network, given)
        path = str(Path(folder, "network.onnx"))
        torch.onnx.export(exported, given, path, dynamo=True, opset_version=20, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        converted = openvino.convert_model(exported, example_input=given)
        compiled = openvino.Core().compile_model(
            converted,
            "CPU",
            {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"},
        )
    arrays = [value.numpy() for value in given]
    feeds = {own.name: value for own, value in zip(session.get_inputs(), arrays, strict=True)}
    return {
        "onnxruntime": lambda: torch.from_numpy(session.run(None, feeds)[0]),
        "openvino": lambda: torch.from_numpy(compiled(arrays)[0]),
    }


def inputs_of(channels: int) -> list[Tensor]:
    """Return features, offsets and a weight as PoseDet has them in inference."""
    torch.manual_seed(0)
    inputs = (
        torch.randn(1, channels, *SIZE),
        SPREAD * torch.randn(1, 2 * POINTS, *SIZE),
        0.01 * torch.randn(channels, channels, 1, POINTS),
    )
    return [value.to(memory_format=torch.channels_last) for value in inputs]


def measure_alone(
    inputs: list[Tensor], others: dict[str, Callable[[], Tensor]], rounds: int
) -> None:
    """Print a row for each form, without and with gradients."""
    channels = inputs[0].shape[1]
    ways: dict[str, Callable[[], Tensor]] = {
        "deformable": lambda: deformable_point_conv(*inputs),
        "samples": lambda: sampled_point_conv(*inputs),
        "compiled": lambda: compiled_point_conv(*inputs),
        **others,
    }
    with torch.inference_mode():
        first = ways["deformable"]()
        apart = [(way() - first).abs().max() / first.abs().max() for way in ways.values()]
        times = in_turns(list(ways.values()), rounds)
    for name, spent, difference in zip(ways, times, apart, strict=True):
        ratio = spent / times[1]
        print(f"{channels:8}  no         {name:12}  {spent:8.1f}  {ratio:5.2f}  {difference:.0e}")
    for value in inputs:
        value.requires_grad_()
    trained: list[Way] = [deformable_point_conv, sampled_point_conv]
    times = in_turns([lambda way=way: with_gradients(way, inputs) for way in trained], rounds)  # type: ignore[misc]
    for name, spent in zip(ways, times, strict=False):
        print(f"{channels:8}  yes        {name:12}  {spent:8.1f}  {spent / times[1]:5.2f}")


@torch.inference_mode()
def measure_network(name: str, rounds: int) -> None:
    """Print the time of a recipe's network at 512 x 512 with the compiled form and without."""
    torch.manual_seed(0)
    built = cast(PoseDet, RECIPES[name].build(COCO))
    # Random weights, but with points as far apart as after training.
    for weight in (built.coarse.weight, built.score.weight):
        nn.init.normal_(weight, std=0.3)
    model = inference_model(built)
    images = torch.randn(1, 3, 512, 512).to(memory_format=torch.channels_last)

    def before() -> Any:
        with torch_operations_only():
            return model(images)

    old, new = in_turns([before, lambda: model(images)], rounds)
    pairs = zip(before().logits, model(images).logits, strict=True)
    apart = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    print(f"{name}: samples {old:.0f} ms, compiled {new:.0f} ms, {new / old:.2f}, {apart:.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runtimes", action="store_true")
    parser.add_argument("--networks", default="posedet_dla34_coco,posedet_hrnet_w32_coco")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(hardware(torch.device("cpu")))
    print("channels  gradients  form                ms  ratio  difference")
    cases = [inputs_of(channels) for channels in (128, 256)]
    # Exported first: a process that has run compiled loops is not forked without warnings.
    others = [runtimes(*inputs) if options.runtimes else {} for inputs in cases]
    for inputs, own in zip(cases, others, strict=True):
        measure_alone(inputs, own, options.rounds)
    for name in filter(None, options.networks.split(",")):
        measure_network(name, options.rounds)


if __name__ == "__main__":
    main()
