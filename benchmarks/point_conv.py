"""Time PoseDet's pose embedding by sampling against torchvision's deformable convolution.

    python benchmarks/point_conv.py [--rounds 5]

Both are timed in turns on one thread, for one level of 64 x 96 cells and 17 points. Prints medians
of processor time in milliseconds, without and with gradients, and the largest difference relative
to the largest value.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from posebench.engine.runs import hardware
from posebench.models.posedet.point_conv import deformable_point_conv, sampled_point_conv

POINTS, SIZE = 17, (64, 96)
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def measure(way: Way, inputs: list[Tensor], gradients: bool) -> tuple[float, Tensor]:
    for value in inputs:
        value.requires_grad_(gradients)
    start = time.process_time()
    with torch.inference_mode(not gradients):
        out = way(*inputs)
    if gradients:
        torch.autograd.grad(out.sum(), inputs)
    return 1000 * (time.process_time() - start), out.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(hardware(torch.device("cpu")))
    print("channels  gradients  deformable   samples   ratio  difference")
    for channels in (128, 256):
        inputs = [
            torch.randn(1, channels, *SIZE),
            4 * torch.randn(1, 2 * POINTS, *SIZE),
            0.01 * torch.randn(channels, channels, 1, POINTS),
        ]
        for gradients in (False, True):
            ways: tuple[Way, ...] = (deformable_point_conv, sampled_point_conv)
            times: list[list[float]] = []
            for _ in range(options.rounds + 1):
                measured = [measure(way, inputs, gradients) for way in ways]
                times.append([milliseconds for milliseconds, _ in measured])
            plain, own = np.median(times[1:], axis=0).tolist()
            (_, first), (_, second) = measured
            difference = float((first - second).abs().max() / first.abs().max())
            print(
                f"{channels:8}  {gradients!s:9}  {plain:10.1f}  {own:8.1f}  {plain / own:6.1f}"
                f"  {difference:10.0e}"
            )


if __name__ == "__main__":
    main()
