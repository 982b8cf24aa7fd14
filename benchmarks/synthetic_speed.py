"""Measure the synthetic images per second of one core: python benchmarks/synthetic_speed.py"""

from __future__ import annotations

import time

import cv2

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.skeleton import COCO

IMAGES = 300


def images_per_second(size: int, crowd: float) -> float:
    """Return the rate at which images are drawn, after a warm-up that fills the caches."""
    dataset = SyntheticCrowds(COCO, size=size, crowd=crowd)
    for index in range(10):
        dataset.load(index)
    start = time.perf_counter()
    for index in range(IMAGES):
        dataset.load(index)
    return IMAGES / (time.perf_counter() - start)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    print(f"{'size':>5} {'crowd':>6} {'images/s':>9}")
    for size in (256, 512):
        for crowd in (0.2, 0.5, 0.9):
            print(f"{size:5} {crowd:6.1f} {images_per_second(size, crowd):9.0f}")
