"""Time DEKR's decoding by number of people, and against a plain transcription.

    python benchmarks/dekr_decoding.py [--short-side 512] [--turns 30] [--network]

Ideal outputs of people side by side are decoded. The transcription does what the published code
does, in its order: all heatmaps are enlarged to the network input's size and read there. Runs on
one thread and prints milliseconds, the median of turns that take both in alternation; `--network`
adds the share of a forward pass of `dekr_hrnet_w32_coco`, mirrored as in the test.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from torch import Tensor

from posebench.engine.runs import hardware
from posebench.layers.centres import find_peaks
from posebench.models import RECIPES
from posebench.models.dekr.decoding import DEKROutputs, decode_people, enlarged_heatmaps
from posebench.models.dekr.model import DEKR
from posebench.models.dekr.profile import PROFILE
from posebench.models.dekr.recipes import STRIDE, DEKRConfig
from posebench.preprocess import blank_batch
from posebench.skeleton import COCO
from posebench.structures import Batch, Geometry, PosePredictions, Poses, Sample, box_corners

RECIPE = RECIPES["dekr_hrnet_w32_coco"]
CONFIG = DEKRConfig()  # that of the recipe


def crowd(people: int, size: tuple[int, int]) -> Poses:
    """Return people on a grid, whose keypoints are spread around them."""
    rng = np.random.default_rng(0)
    columns = -(-people // 5)
    at = np.stack([np.arange(people) % columns, np.arange(people) // columns], 1) + 0.5
    centres = at * [size[0] / columns, size[1] / 5]
    keypoints = centres[:, None] + rng.uniform(-30, 30, (people, 17, 2))
    low, high = keypoints.min(1), keypoints.max(1)
    boxes = torch.from_numpy(np.concatenate([low, high - low], 1))
    visibility = torch.full((people, 17), 2)
    return Poses(torch.from_numpy(keypoints), visibility, boxes[:, 2:].prod(1), box_corners(boxes))


def plain(outputs: DEKROutputs, geometry: Geometry, config: DEKRConfig) -> PosePredictions:
    """Return the people of one image of one scale, step by step as published."""
    maps = enlarged_heatmaps(outputs)[0]
    height, width = outputs.heatmaps.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([x, y], 0).repeat(len(maps), 1, 1)
    everywhere = (STRIDE * (cells - outputs.offsets[0])).flatten(1).T  # (H W, 2 K)
    people, scores = find_peaks(outputs.heatmaps[:, -1])
    poses = everywhere[people[:, 1] * width + people[:, 2]].view(len(people), -1, 2)
    heat = torch.zeros(len(poses), len(maps))
    for person, pose in enumerate(poses):
        for k, (px, py) in enumerate(pose):
            row = int(py.clamp(0, maps.shape[1] - 1))
            heat[person, k] = maps[k, row, int(px.clamp(0, maps.shape[2] - 1))]
    kept = published_nms(poses, heat.mean(1), config)
    poses, heat, scores = poses[kept], heat[kept], scores[kept]
    matrix = geometry.to_image[0].float()
    keypoint_scores = scores[:, None] * heat
    person_scores = keypoint_scores.mean(1)
    best = person_scores.argsort(descending=True, stable=True)
    keypoints = poses @ matrix[:, :2].T + matrix[:, 2]
    return PosePredictions(keypoints[best], keypoint_scores[best], person_scores[best])


def published_nms(poses: Tensor, heat: Tensor, config: DEKRConfig) -> list[int]:
    """Return the candidates that are kept, in the order in which they are."""
    extent = poses.amax(1) - poses.amin(1)
    size = extent.square().sum(1).sqrt()
    distances = (poses[None] - poses[:, None]).square().sum(-1).sqrt()
    close = distances < config.nms_distance * size[:, None, None]
    near = close.sum(2) > config.nms_keypoints
    removed: set[int] = set()
    kept = []
    for person in range(len(poses)):
        if person in removed:
            continue
        group = near[person].nonzero()[:, 0]
        best = int(group[heat[group].argmax()])
        if best not in removed:
            kept.append(best)
            removed.update(group.tolist())
    return kept


def milliseconds(turns: int, *works: Callable[[], object]) -> list[float]:
    """Return the median time of each, taken in alternation."""
    for work in works:
        work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(turns):
        for work, own in zip(works, times, strict=True):
            begun = time.perf_counter()
            work()
            own.append(1e3 * (time.perf_counter() - begun))
    return [median(own) for own in times]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--short-side", type=int, default=512)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--network", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = DEKR(CONFIG, COCO).eval()
    size = (options.short_side * 4 // 3, options.short_side)
    resize = replace(RECIPE.inference.resize, short_side=options.short_side)
    image = np.zeros((size[1], size[0], 3), np.uint8)

    def batch_of(people: int) -> Batch:
        return blank_batch(Sample(image, crowd(people, size)), resize)

    whole = 0.0
    if options.network:
        images = batch_of(1).images.contiguous()
        both = torch.cat([images, images])
        with torch.inference_mode():
            [whole] = milliseconds(3, lambda: model(both))
    print(f"{hardware(torch.device('cpu'))}\npeople  decoding, ms  plain, ms", end="")
    print("  share of the network" if whole else "")
    for people in (1, 5, 20, 30, 50):
        batch = batch_of(people)
        outputs = PROFILE.ideal_outputs(model, batch)

        def ours(outputs: DEKROutputs = outputs, batch: Batch = batch) -> PosePredictions:
            [found] = decode_people(outputs, batch.geometry, CONFIG)
            return found

        def theirs(outputs: DEKROutputs = outputs, batch: Batch = batch) -> PosePredictions:
            return plain(outputs, batch.geometry, CONFIG)

        torch.testing.assert_close(ours().keypoints, theirs().keypoints, rtol=0, atol=1e-3)
        torch.testing.assert_close(ours().scores, theirs().scores, rtol=0, atol=1e-5)
        own, other = milliseconds(options.turns, ours, theirs)
        print(f"{len(ours()):6}  {own:12.2f}  {other:9.1f}", end="")
        print(f"  {own / whole:20.2%}" if whole else "")


if __name__ == "__main__":
    main()
