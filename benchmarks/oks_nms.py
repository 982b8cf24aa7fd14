"""Time PoseDet's OKS suppression against a plain one, in turns, on one thread.

    python benchmarks/oks_nms.py [--candidates 1000] [--rounds 5]

The plain one takes candidates one by one, best first, and compares each with all candidates kept so
far. Candidates are scattered around the poses of 5 to 1,000 people; both must keep the same ones in
the same order. Prints medians of processor time in milliseconds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor

from posebench.engine.runs import hardware
from posebench.layers.nms import oks_nms, pose_area
from posebench.skeleton import COCO

SIGMAS = torch.tensor(COCO.sigmas)
THRESHOLD, LIMIT, MIN_AREA = 0.2, 100, 32.0**2


def scene(candidates: int, people: int) -> tuple[Tensor, Tensor]:
    """Return poses (N, K, 2) in an image of 640 x 480, and their scores (N,)."""
    generator = torch.Generator().manual_seed(people)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    height = 60 + 120 * uniform(people, 1, 1)
    body = (uniform(people, len(SIGMAS), 2) - 0.5) * height * torch.tensor([0.4, 1.0])
    bodies = uniform(people, 1, 2) * torch.tensor([640, 480]) + body
    owner = torch.randint(people, (candidates,), generator=generator)
    noise = 0.04 * height[owner] * torch.randn(candidates, len(SIGMAS), 2, generator=generator)
    return bodies[owner] + noise, 0.05 + 0.95 * uniform(candidates)


def areas(keypoints: Tensor) -> Tensor:
    """Return half of the pose areas, since PoseDet's OKS lacks COCO's factor of two."""
    return pose_area(keypoints).clamp(min=MIN_AREA) / 2


def compiled(keypoints: Tensor, scores: Tensor) -> list[int]:
    kept: list[int] = oks_nms(
        keypoints, scores, SIGMAS, THRESHOLD, area=areas(keypoints), limit=LIMIT
    ).tolist()
    return kept


def one_by_one(keypoints: Tensor, scores: Tensor) -> list[int]:
    poses, area = keypoints.double().numpy(), areas(keypoints).double().numpy()
    variance = (2 * SIGMAS.double().numpy()) ** 2
    kept: list[int] = []
    for one in scores.argsort(descending=True, stable=True).tolist():
        if len(kept) == LIMIT:
            break
        for other in kept:
            squared = ((poses[one] - poses[other]) ** 2).sum(-1)
            pair_area = (area[one] + area[other]) / 2
            if np.exp(-squared / variance / pair_area / 2).mean() > THRESHOLD:
                break
        else:
            kept.append(one)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("candidates", 1000), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    compiled(*scene(10, 2))  # compiles
    print(f"{hardware(torch.device('cpu'))}; {options.candidates} candidates, ms")
    print("people   kept  one by one   compiled   ratio")
    for people in (5, 12, 30, 100, 1000):
        keypoints, scores = scene(options.candidates, people)
        times: dict[str, list[float]] = {"one_by_one": [], "compiled": []}
        for _ in range(options.rounds):
            kept = {}
            for way in (one_by_one, compiled):
                start = time.process_time()
                kept[way.__name__] = way(keypoints, scores)
                times[way.__name__].append(1000 * (time.process_time() - start))
        if kept["one_by_one"] != kept["compiled"]:
            raise SystemExit(f"With {people} people the two keep different candidates.")
        plain, own = (float(np.median(times[way])) for way in ("one_by_one", "compiled"))
        print(
            f"{people:6}  {len(kept['compiled']):5}  {plain:10.1f}  {own:9.2f}  {plain / own:6.0f}"
        )


if __name__ == "__main__":
    main()
