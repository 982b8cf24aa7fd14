"""Time convolutions with group norms, normed with each group's channels contiguous and as stored.

    python benchmarks/head_convs.py [--images 8] [--width 64] [--side 20] [--convs 4]

Maps are in the channels-last memory format, as in training and inference. Both ways are timed in
turns on one thread. Prints medians of processor time in milliseconds per precision, with gradients
and without, and the largest difference relative to the largest value.
"""

from __future__ import annotations

import argparse
import time
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from posebench.engine.runs import hardware
from posebench.models.posedet import pyramids


def as_stored(norm: nn.GroupNorm, maps: Tensor) -> Tensor:
    normed: Tensor = norm(maps)
    return normed


def measure(convs: nn.Module, maps: Tensor, *, half: bool, gradients: bool) -> tuple[float, Tensor]:
    start = time.process_time()
    with torch.set_grad_enabled(gradients):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made: Tensor = convs(maps)
        if gradients:
            made.float().square().sum().backward()  # type: ignore[no-untyped-call]
    return 1000 * (time.process_time() - start), made.detach().float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 8), ("width", 64), ("side", 20), ("convs", 4), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(hardware(torch.device("cpu")))
    width = options.width
    convs: nn.Module = nn.Sequential(
        *(pyramids.Conv(width, width, 3, relu=True) for _ in range(options.convs))
    ).to(memory_format=torch.channels_last)
    maps = torch.randn(options.images, width, options.side, options.side)
    maps = maps.to(memory_format=torch.channels_last)
    for half in (True, False):
        for gradients in (True, False):
            times: list[list[float]] = []
            for _ in range(options.rounds + 1):
                ours, first = measure(convs, maps, half=half, gradients=gradients)
                with mock.patch.object(pyramids, "_normed", as_stored):
                    other, second = measure(convs, maps, half=half, gradients=gradients)
                times.append([ours, other])
            together, apart = np.median(times[1:], axis=0).tolist()
            error = float((first - second).abs().max() / second.abs().max())
            print(
                f"{'bf16' if half else 'fp32'}, {'with' if gradients else 'without'} gradients: "
                f"{together:.1f} ms, channels last {apart:.1f} ms, ratio {apart / together:.2f}, "
                f"{error:.0e}"
            )


if __name__ == "__main__":
    main()
