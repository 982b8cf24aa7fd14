"""Time CID's parts, forward and backward, against a direct port ("plain") of the equations.

    python benchmarks/cid_parts.py [--width 32] [--size 512] [--images 2] [--people 10]

Prints the median of each and their ratio; the two are timed in turns, so that a drift of the
machine's speed favours neither.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from posebench.layers.backbones.hrnet import joined, joined_conv
from posebench.layers.heatmaps import heatmap_focal_loss
from posebench.models.cid.decoupling import Decoupling


def plain_focal_loss(scores: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return the loss of Eq. 15 as printed; autograd derives its gradient."""
    at_peak = (1 - scores) ** 2 * scores.log()
    elsewhere = (1 - targets) ** 4 * scores**2 * (1 - scores).log()
    terms = torch.where(targets == 1, at_peak, elsewhere) * mask
    return -terms.sum() / ((targets == 1) & mask).sum().clamp(min=1)


def compare(name: str, ours: Callable[[], Tensor], plain: Callable[[], Tensor]) -> None:
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(9):
        for kind, run in (("ours", ours), ("plain", plain)):
            start = time.perf_counter()
            run().sum().backward()  # type: ignore[no-untyped-call]
            if turn:  # the first warms up
                times[kind].append(time.perf_counter() - start)
    a, b = (statistics.median(times[kind]) for kind in ("ours", "plain"))
    print(f"{name:32} {1000 * a:9.1f} ms {1000 * b:9.1f} ms   {a / b:5.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("width", 32), ("size", 512), ("images", 2), ("people", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.manual_seed(0)
    side, embedding = options.size // 4, 32
    channels = 15 * options.width
    streams = [
        torch.randn(
            options.images, options.width * 2**i, side // 2**i, side // 2**i, requires_grad=True
        )
        for i in range(4)
    ]
    heads = [nn.Conv2d(channels, 18, 1), nn.Conv2d(channels, embedding, 1)]
    print(f"{'part':32} {'ours':>12} {'plain':>12}   ratio")
    compare(
        "keypoint head and reduction",
        lambda: torch.cat(joined_conv(streams, heads), 1),
        lambda: torch.cat([head(joined(streams)) for head in heads], 1),
    )
    count = options.images * options.people
    people = torch.randint(0, side, (count, 3))
    people[:, 0] = torch.arange(options.images).repeat_interleave(options.people)
    module = Decoupling(channels, 17, embedding)
    shared = torch.randn(options.images, embedding, side, side, requires_grad=True)
    features = torch.randn(count, channels, requires_grad=True)
    compare(
        "decoupling",
        lambda: module(shared, features, people),
        lambda: module.as_written(shared, features, people),
    )
    targets = torch.rand(count, 17, side, side) ** 20
    targets[:, :, side // 2, side // 2] = 1
    mask = torch.ones(count, 17, 1, 1, dtype=torch.bool)
    scores = torch.rand_like(targets).clamp(1e-4, 1 - 1e-4).requires_grad_()
    compare(
        "focal loss of instances",
        lambda: heatmap_focal_loss(scores, targets, mask),
        lambda: plain_focal_loss(scores, targets, mask),
    )


if __name__ == "__main__":
    main()
