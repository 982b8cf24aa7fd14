"""Time HigherHRNet's decoding, from the network's maps to people, by number of people.

    python benchmarks/grouping.py [--height 512] [--width 704] [--plain]

The maps are ideal ones of random people plus noise, including the mirrored image's tags; the last
row is pure noise, with 233 candidates. Prints medians in milliseconds. With --plain the search for
missing keypoints is also timed once as published: every person, every keypoint, every pixel.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.engine.runs import hardware
from posebench.models import profile_of
from posebench.models.higher_hrnet.decoding import (
    GROUPING_ORDER,
    HigherHRNetOutputs,
    resize_maps,
    resize_tags,
)
from posebench.models.higher_hrnet.grouping import find_candidates, group
from posebench.models.higher_hrnet.model import HigherHRNet
from posebench.models.higher_hrnet.recipes import HigherHRNetConfig
from posebench.models.higher_hrnet.refinement import adjust, refine
from posebench.skeleton import COCO
from posebench.structures import Batch, Geometry, Poses, box_corners


def crowd(people: int, height: int, width: int) -> Poses:
    """Return people with random keypoints, of which a random fifth is missing."""
    generator = torch.Generator().manual_seed(people)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    size = 60 + 100 * uniform(people, 1, 1)
    corner = uniform(people, 1, 2) * (torch.tensor([width, height]) - size)
    keypoints = corner + size * uniform(people, len(COCO), 2)
    visibility = 2 * (uniform(people, len(COCO)) > 0.2).long()
    boxes = torch.cat([corner[:, 0], size[:, 0].expand(-1, 2)], 1)
    return Poses(keypoints, visibility, size[:, 0, 0] ** 2, box_corners(boxes))


def maps_of(model: HigherHRNet, people: int, height: int, width: int) -> HigherHRNetOutputs:
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    geometry = Geometry(identity, torch.tensor([False]), torch.tensor([[width, height]]))
    images = torch.zeros(()).expand(1, 3, height, width)
    batch = Batch(images, [crowd(people, height, width)], {}, geometry, [0], ["x"], [0])
    ideal = profile_of(model.config).ideal_outputs(model, batch)
    generator = torch.Generator().manual_seed(0)

    def noisy(maps: Tensor, strength: float) -> Tensor:
        return maps + strength * torch.randn(maps.shape, generator=generator)

    heatmaps = tuple(noisy(maps, 0.02) for maps in ideal.heatmaps)
    tags = noisy(ideal.tags.expand(-1, -1, 2, -1, -1), 0.05)
    return HigherHRNetOutputs(heatmaps, tags, ideal.size)


def noise(height: int, width: int) -> HigherHRNetOutputs:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 17, height // s, width // s) for s in (4, 2)]
    heatmaps = tuple(0.1131 * torch.rand(shape, generator=generator) for shape in shapes)
    tags = 20 * torch.randn((1, 17, 2, *shapes[0][2:]), generator=generator)
    return HigherHRNetOutputs(heatmaps, tags, (height, width))


def plain_milliseconds(means: NDArray[Any], heatmaps: NDArray[Any], tags: NDArray[Any]) -> float:
    """Time the published search once."""
    began = time.perf_counter()
    for mean in means:
        for heatmap, own in zip(heatmaps, tags, strict=True):
            distance = np.sqrt(((own - mean[:, None, None]) ** 2).sum(0))
            (heatmap - np.round(distance)).argmax()
    return 1000 * (time.perf_counter() - began)


def measure(
    model: HigherHRNet, outputs: HigherHRNetOutputs, rounds: int, plain: bool
) -> tuple[list[float], int]:
    """Return the median milliseconds of each part, and the number of people.

    With `plain`, the last time is that of the published search.
    """
    times = []
    for _ in range(rounds + 1):
        clock = [time.perf_counter()]
        heatmaps = resize_maps(model.aggregated(outputs), outputs.size)[0]
        tags = resize_tags(model.fine_tags(outputs), outputs.size)[0].contiguous()
        clock.append(time.perf_counter())
        candidates = find_candidates(heatmaps, tags)
        clock.append(time.perf_counter())
        people, own_tags = group(candidates, GROUPING_ORDER)
        clock.append(time.perf_counter())
        means = np.stack([tag.mean(0) for tag in own_tags])
        refine(adjust(people, heatmaps.numpy()), means, heatmaps.numpy(), tags.numpy())
        clock.append(time.perf_counter())
        times.append(1000 * np.diff(clock))
    parts: list[float] = np.median(times[1:], axis=0).tolist()  # the first round compiles
    if plain:
        parts.append(plain_milliseconds(means, heatmaps.numpy(), tags.numpy()))
    return parts, len(people)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("height", 512), ("width", 704), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    model = HigherHRNet(HigherHRNetConfig(backbone="hrnet_tiny"), COCO)
    print(f"{hardware(torch.device('cpu'))}; {options.height} x {options.width}, with mirror, ms")
    print("scene       people  all but aggregate: aggregate  peaks  group  refine  plain refine")
    size = (options.height, options.width)
    with torch.inference_mode():
        scenes = {f"{n} people": maps_of(model, n, *size) for n in (1, 5, 20, 50)}
        for name, outputs in {**scenes, "noise": noise(*size)}.items():
            parts, people = measure(model, outputs, options.rounds, options.plain)
            row = "  ".join(f"{part:8.1f}" for part in parts)
            print(f"{name:12} {people:5}  {sum(parts[1:4]):17.1f}: {row}")


if __name__ == "__main__":
    main()
