"""Time PifPaf's decoder, from fields to people, by number of people.

    python benchmarks/pifpaf_decoding.py [--height 61] [--width 81] [--runs 50]

The fields are those of standing people of random positions and sizes, with a confidence that falls
with the distance from keypoints, noise and false peaks. Runs on one thread and prints milliseconds:
the median, and the minimum, which other work on the machine disturbs less. The authors' compiled
decoder takes 0.8, 4 and 10 ms for 1, 5 and 15 people on one core of a similar server.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor

from posebench.engine.runs import hardware
from posebench.models.pifpaf.decoding import decode_fields
from posebench.models.pifpaf.targets import (
    field_layout,
    field_people,
    keypoint_fields,
    limb_fields,
)
from posebench.skeleton import COCO
from posebench.structures import Poses, box_corners

LAYOUT = field_layout(COCO)
STRIDE = 8


def crowd(people: int, height: int, width: int, generator: torch.Generator) -> Poses:
    """Return standing people, 60 to 250 px tall, turned and bent a little."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    tall = 60 + 190 * uniform(people, 1, 1)
    upright = torch.tensor(LAYOUT.upright, dtype=torch.float64) / 10 * torch.tensor([1.0, -1.0])
    angle = (uniform(people) - 0.5) * 0.8
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    bent = upright + 0.04 * torch.randn(people, 17, 2, generator=generator, dtype=torch.float64)
    keypoints = tall * (bent @ turn)
    place = uniform(people, 1, 2) * torch.tensor([width - 1.0, height - 1.0])
    keypoints = keypoints - keypoints.mean(1, keepdim=True) + place
    within = (keypoints >= 0) & (keypoints <= torch.tensor([width - 1.0, height - 1.0]))
    return Poses(
        keypoints,
        2 * within.all(-1).long(),
        tall[:, 0, 0] ** 2,
        box_corners(torch.ones(people, 4, dtype=torch.float64)),
    )


def scene(people: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the fields (K, 4, h, w) and (M, 7, h, w) that a network might give for a crowd."""
    generator = torch.Generator().manual_seed(people)
    height, width = ((side - 1) * STRIDE + 1 for side in size)
    poses = crowd(people, height, width, generator)
    annotated = field_people(poses, LAYOUT, STRIDE, (0.0, 0.0, width - 1.0, height - 1.0))

    def noisy(fields: Tensor) -> Tensor:
        ends = 1 if fields.shape[1] == 4 else 2
        away = fields[:, 1:3].square().sum(1).sqrt()
        # The cells of limbs are all far from the limb's ends.
        sure = 0.9 * torch.exp(-((away / 4) ** 2)) if ends == 1 else torch.full_like(away, 0.75)
        noise = torch.rand(sure.shape, generator=generator)
        false_peaks = torch.where(noise > 0.9995, 0.5, 0.05 * noise)
        confidence = torch.where(fields[:, 0] == 1, sure * (0.8 + 0.2 * noise), false_peaks)
        values = fields[:, 1:].nan_to_num(1.0)
        values = values + 0.05 * torch.randn(values.shape, generator=generator)
        values[:, 2 * ends :].abs_()
        return torch.cat([confidence[:, None].logit(), values], 1)

    return noisy(keypoint_fields(annotated, size)), noisy(limb_fields(annotated, LAYOUT, size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=61, help="cells")
    parser.add_argument("--width", type=int, default=81, help="cells")
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = (options.height, options.width)
    print(f"{hardware(torch.device('cpu'))}, fields of {size[0]} x {size[1]} cells")
    print("people  decoded  median ms  min ms  completed, min ms")
    for people in (0, 1, 5, 15, 30, 60, 120):
        fields = scene(people, size)
        times: dict[bool, list[float]] = {False: [], True: []}
        for complete, taken in times.items():
            for _ in range(options.runs + 1):
                began = time.perf_counter()
                decoded = decode_fields(*fields, LAYOUT, STRIDE, complete=complete)
                taken.append(1000 * (time.perf_counter() - began))
            del taken[0]  # compiles, or loads the compiled code
        plain = times[False]
        print(
            f"{people:6}  {len(decoded.means):7}  {np.median(plain):9.2f}  {min(plain):6.2f}  "
            f"{min(times[True]):17.2f}"
        )


if __name__ == "__main__":
    main()
