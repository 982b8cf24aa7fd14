"""Time and memory of comparing two models at COCO val's size and multiples of it.

    python benchmarks/compare_results.py [--times 1 2 4] [--draws 1000]

Draws 5,000 images with two people each, and twenty detections an image of each of two models, as
arrays; reading files comes on top. Each size runs in a process of its own, whose peak memory is
reported: first the table, differences and p, then everything.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posebench.bench.analysis import analyze
from posebench.bench.comparison import compare
from posebench.data import LAYOUTS
from posebench.data.annotations import check_content, content_of
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections

IMAGES, PEOPLE, DETECTIONS = 5000, 2, 20


def drawn_people(images: int) -> GroundTruth:
    """Return images with people of all sizes, some of whose keypoints are not labelled."""
    rng = np.random.default_rng(0)
    protocol = LAYOUTS["coco"].protocol
    people: list[dict[str, Any]] = []
    for image in range(images):
        for _ in range(PEOPLE):
            side = float(np.exp(rng.uniform(3, 5.5)))
            corner = rng.uniform(0, 400, 2)
            joints = corner + rng.uniform(0, side, (17, 2))
            visible = 2.0 * (rng.random(17) < rng.uniform(0.2, 1))
            visible[0] = 2
            keypoints = np.column_stack([joints, visible])
            people.append(
                {
                    "id": len(people) + 1, "image_id": image + 1, "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(), "iscrowd": 0,
                    "num_keypoints": int((visible > 0).sum()), "area": 0.6 * side**2,
                    "bbox": [*corner.tolist(), side, side],
                }
            )  # fmt: skip
    content = {
        "images": [{"id": i + 1, "file_name": f"{i}.jpg"} for i in range(images)],
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": list(protocol.skeleton.keypoints)}],
    }
    path = Path("drawn.json")
    return check_content(content_of(content, path), path, protocol)


def detections(truth: GroundTruth, skill: float, seed: int) -> Detections:
    """Return a good pose of each person and many bad ones, with scores that tell them roughly."""
    rng = np.random.default_rng(seed)
    copies = DETECTIONS // PEOPLE
    person = np.repeat(np.arange(len(truth)), copies)
    first = np.arange(len(person)) % copies == 0
    error = np.where(first, np.exp(rng.normal(-3 - skill, 0.8, len(person))), rng.uniform(0.3, 2))
    side = np.sqrt(truth.area[person])
    keypoints = (
        truth.keypoints[person, :, :2]
        + rng.normal(0, 1, (len(person), 17, 2)) * (error * side)[:, None, None]
    )
    scores = np.exp(-3 * error) * rng.uniform(0.5, 1, len(person))
    extent = np.ptp(keypoints, axis=1).prod(-1)
    return Detections(truth.rank[truth.image[person]], keypoints, scores, extent)


def measure(times: int, draws: int, *, analyse: bool) -> None:
    """Compare two models at one size, or analyse one; print seconds and peak memory."""
    truth = drawn_people(times * IMAGES)
    protocol = LAYOUTS["coco"].protocol
    ours = detections(truth, 0.1, 1)
    steps: dict[str, Callable[[], object]]
    if analyse:
        small = truth.select_images(range(200))
        analyze(detections(small, 0.1, 1), small, protocol, draws=2)  # compiles
        steps = {
            f"analysis, {count} draws": partial(analyze, ours, truth, protocol, draws=count)
            for count in (0, draws)
        }
    else:
        models = {"ours": ours, "theirs": detections(truth, 0.0, 2)}
        compare(models, truth, protocol, draws=2, groups=False)  # compiles
        steps = {
            f"{name}, {draws} draws": partial(
                compare, models, truth, protocol, draws=draws, groups=groups
            )
            for name, groups in (("table and p", False), ("all", True))
        }
    for name, step in steps.items():
        start, cpu = time.perf_counter(), time.process_time()
        step()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{times} x {IMAGES} images, {name}: {seconds:.1f} s, {cpu:.1f} s of CPU, peak "
            f"{peak:.2f} GB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--analyse", action="store_true", help="one model's errors instead")
    options = parser.parse_args()
    if len(options.times) == 1:
        measure(options.times[0], options.draws, analyse=options.analyse)
        return
    for times in options.times:
        command = [sys.executable, __file__, "--times", str(times), "--draws", str(options.draws)]
        subprocess.run([*command, *["--analyse"] * options.analyse], check=True)


if __name__ == "__main__":
    main()
