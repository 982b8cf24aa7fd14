"""Time the parts of a training step: images per second of each, by number of people.

    python benchmarks/cid_training.py [--recipe cid_hrnet_w32_coco] [--images 8] [--people 1 10 50]

"Data" is the work of one loader process: decode a 640 x 480 JPEG file, warp and collate.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from posebench.data import loader
from posebench.data.annotations import Content, check_content
from posebench.data.base import FileDataset
from posebench.data.loader import MicroBatchSampler
from posebench.engine.evaluation import autocast
from posebench.engine.runs import hardware
from posebench.models import RECIPES, PoseModel
from posebench.recipe import Precision
from posebench.skeleton import COCO
from posebench.structures import Protocol

WIDTH, HEIGHT = 640, 480


def write_dataset(folder: Path, images: int, people: int) -> FileDataset:
    """Write images of coarse structure and noise, annotated with people of random keypoints."""
    rng = np.random.default_rng(0)
    images_listed: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    for number in range(images):
        coarse = rng.integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        noise = rng.integers(0, 20, picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), picture)
        images_listed.append(
            {"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT}
        )
        for _ in range(people):
            size = rng.uniform(60, 200)
            corner = rng.uniform(0, 1, 2) * (WIDTH - size, HEIGHT - size)
            joints = corner + rng.uniform(0, size, (len(COCO), 2))
            rows = np.column_stack([joints, np.full(len(COCO), 2)])
            listed.append(
                {
                    "id": len(listed) + 1, "image_id": number, "category_id": 1,
                    "keypoints": rows.ravel().tolist(), "num_keypoints": len(COCO),
                    "bbox": [*corner.tolist(), size, size], "area": size**2, "iscrowd": 0,
                }
            )  # fmt: skip
    content = Content(images_listed, listed, None)
    truth = check_content(content, folder, Protocol(COCO))
    return FileDataset("benchmark", "train", Protocol(COCO), folder, truth)


def measure(recipe_name: str, images: int, people: int, rounds: int, precision: Precision) -> None:
    recipe = RECIPES[recipe_name]
    torch.manual_seed(0)
    model: PoseModel = recipe.build(COCO)
    model.to(memory_format=torch.channels_last).train()
    clocks: dict[str, list[float]] = {"data": [], "targets": [], "forward": [], "backward": []}
    with tempfile.TemporaryDirectory() as place:
        dataset = write_dataset(Path(place), images, people)
        sampler = MicroBatchSampler(range(images), images, 0, rounds + 1)
        loader.CACHE_BYTES = 0  # images are decoded anew each time, like those of a large dataset
        micro_batches = loader.micro_batches(dataset, recipe.augment, sampler)
        for turn in range(rounds + 1):
            times = [time.perf_counter()]
            batch = next(micro_batches).batch
            assert batch is not None
            times.append(time.perf_counter())
            model.targets(batch)
            times.append(time.perf_counter())
            with autocast(torch.device("cpu"), precision):
                terms = model.loss(batch)
            times.append(time.perf_counter())
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            times.append(time.perf_counter())
            model.zero_grad()
            if turn:  # the first warms up
                for name, step in zip(clocks, np.diff(times), strict=True):
                    clocks[name].append(float(step))
    seconds = {name: statistics.median(times) for name, times in clocks.items()}
    seconds["forward"] -= seconds["targets"]  # the loss builds them again
    network = seconds["forward"] + seconds["backward"]
    rates = "  ".join(f"{images / value:9.1f}" for value in seconds.values())
    print(
        f"{people:6}  {rates}   {100 * seconds['targets'] / network:5.2f} %"
        f"   {100 * seconds['data'] / network:5.2f} %",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="cid_hrnet_w32_coco")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    print(f"{hardware(torch.device('cpu'))}; {options.recipe}, {options.images} images per batch")
    print("people  images/s: data, targets, forward, backward     targets, data of the network")
    for people in options.people:
        measure(options.recipe, options.images, people, options.rounds, options.precision)


if __name__ == "__main__":
    main()
