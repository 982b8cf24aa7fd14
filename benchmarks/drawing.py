"""Time drawing people against shapes that are blended box by box with NumPy, in turns.

    python benchmarks/drawing.py [--rounds 3]

The people are those of synthetic crowds, enlarged to each picture's size, with random certainties,
so that limbs are dashed, or with random visibilities, so that discs are hollow. Both ways paint the
same shapes, and every pixel must be equal to 1 of 255. Prints medians of processor time in
milliseconds; and the time of a process's first picture, with the loop that numba compiles in no
cache, in its cache, and not needed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import torch

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine.runs import hardware
from posebench.skeleton import COCO
from posebench.structures import PosePredictions, Poses
from posebench.viz import draw_annotations, draw_poses
from posebench.viz.capsules import Floats, Strokes
from posebench.viz.colours import RGB

_BAND = 128  # rows
SCENES = ((30, 640, 480), (30, 1280, 960), (30, 4000, 3000), (200, 1280, 960))
_FIRST = """
import sys, time
sys.path.insert(0, "benchmarks")
import torch, drawing
from posebench.viz import capsules, draw_poses
if sys.argv[1] == "NumPy":
    capsules._LOADING = float("inf")
if sys.argv[1] == "compiled":
    capsules._LOADING = -1.0
people, _ = drawing.crowd(int(sys.argv[2]), 640, 480)
image = drawing.picture(640, 480)
start = time.process_time()
draw_poses(image, people, drawing.COCO)
print(1000 * (time.process_time() - start))
"""


def crowd(people: int, width: int, height: int) -> tuple[PosePredictions, Poses]:
    """Return people of synthetic crowds as predictions and as annotations."""
    rng = np.random.default_rng(people)
    dataset = SyntheticCrowds(COCO, "val", crowd=1.0)
    shapes: list[torch.Tensor] = []
    while sum(map(len, shapes)) < people:
        sample = dataset.load(len(shapes), pixels=False)
        scale = torch.tensor([width, height]) / torch.tensor(sample.size)
        shapes.append(sample.poses.keypoints * scale)
    keypoints = torch.cat(shapes)[:people]
    certainties = torch.from_numpy(rng.uniform(0, 1, (people, len(COCO))))
    scores = torch.from_numpy(rng.uniform(0.1, 1, people))
    visibility = torch.from_numpy(rng.integers(0, 3, (people, len(COCO))))
    annotated = Poses(keypoints, visibility, torch.ones(people), torch.zeros(people, 4, 2))
    return PosePredictions(keypoints, certainties, scores), annotated


def picture(width: int, height: int) -> RGB:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def paint_boxes(image: RGB, strokes: Strokes) -> None:
    """Blend each shape into the boxes around its bands."""
    for stroke in strokes:
        start, end, radius, colour = stroke[:2], stroke[2:4], stroke[4] + stroke[5], stroke[9:]
        ends = np.stack([start, end])
        height, width = image.shape[:2]
        left, top = np.clip(np.floor(ends.min(0) - radius - 1), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(ends.max(0) + radius + 2), 0, (width, height)).astype(int)
        for upper in range(top, bottom, _BAND):
            lower = min(upper + _BAND, bottom)
            edges = np.array([upper - radius - 1, lower + radius + 1])
            line = np.sort(ends[:, 0])
            if abs(end[1] - start[1]) > 1e-9:
                share = np.clip((edges - start[1]) / (end[1] - start[1]), 0, 1)
                line = np.sort(start[0] + share * (end[0] - start[0]))
            near = line + np.array([-radius - 1, radius + 2])
            first, last = np.clip(np.floor(near), left, right).astype(int)
            if first < last:
                part = image[upper:lower, first:last]
                opacity = _opacity(stroke, np.arange(first, last), np.arange(upper, lower)[:, None])
                part[:] = np.rint(part + opacity[..., None] * (colour - part)).astype(np.uint8)


def _opacity(stroke: Floats, x: Floats, y: Floats) -> Floats:
    (dx, dy), (radius, grown, hole, dash, opacity) = stroke[2:4] - stroke[:2], stroke[4:9]
    x, y = x - stroke[0], y - stroke[1]
    length = max(float(np.hypot(dx, dy)), 1e-9)
    along = np.clip((x * dx + y * dy) / length, 0, length)
    distance = np.hypot(x - along * dx / length, y - along * dy / length)
    coverage = np.clip(radius + grown - distance + 0.5, 0, 1)
    if hole:
        coverage *= np.clip(distance - (hole - grown) + 0.5, 0, 1)
    if dash:
        from_middle = np.abs(np.mod(along, dash) - dash / 2)
        coverage *= np.clip(0.3 * dash + grown - from_middle + 0.5, 0, 1)
    return np.asarray(coverage * opacity)


def compared(draw: Callable[[], RGB], rounds: int) -> tuple[float, float]:
    """Return the times with shapes in boxes and as they are painted, ms."""
    times = []
    draw()
    for _ in range(rounds):
        start = time.process_time()
        own = draw()
        between = time.process_time()
        with mock.patch("posebench.viz.draw.paint", paint_boxes):
            plain = draw()
        times.append((time.process_time() - between, between - start))
        off = int(np.abs(own.astype(np.int16) - plain).max())
        if off > 1:
            raise SystemExit(f"Pixels differ by {off} of 255.")
    boxes, ms = 1000 * np.median(times, axis=0)
    return float(boxes), float(ms)


def first_picture(way: str, people: int, cache: str) -> float:
    """Return the time of a process's first picture, ms."""
    words = [sys.executable, "-c", _FIRST, way, str(people)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    return float(subprocess.run(words, env=environment, capture_output=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(hardware(torch.device("cpu")))
    print("people          picture  drawn        boxes, ms     ms  ratio")
    for people, width, height in SCENES:
        image = picture(width, height)
        predicted, annotated = crowd(people, width, height)
        for name, draw in {
            "predicted": lambda: draw_poses(image, predicted, COCO),  # noqa: B023, used here
            "annotated": lambda: draw_annotations(image, annotated, COCO),  # noqa: B023
        }.items():
            boxes, ms = compared(draw, options.rounds)
            size = f"{width} x {height}"
            print(f"{people:6} {size:>16}  {name}  {boxes:11.1f} {ms:6.1f}  {boxes / ms:5.1f}")
    print("first picture of a process, ms")
    for people in (1, 30):
        with tempfile.TemporaryDirectory() as cache:
            for way, note in (
                ("NumPy", ""),
                ("compiled", ", compiled anew"),
                ("compiled", ", kept"),
            ):
                print(f"{people:6}  {way + note:22} {first_picture(way, people, cache):7.0f}")


if __name__ == "__main__":
    main()
