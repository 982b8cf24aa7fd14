"""The inputs that every model is timed with: synthetic crowds of COCO's most frequent image size.

The content of an image hardly affects a network's time, but the number of detected people affects
the time of everything after it. Networks with random weights detect nobody, or somebody everywhere.
Networks that compute something per person are therefore given the people, and decoding reads the
outputs of an ideal network.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.preprocess import scaled_batches
from posebench.skeleton import COCO, Skeleton
from posebench.structures import Batch, Geometry, Inference, Poses, Resizing, Sample, box_corners

WIDTH, HEIGHT = 640, 480
IMAGES = 4


def timed_crowds() -> SyntheticCrowds:
    """Return the crowds whose images are timed, which are cut to `HEIGHT`."""
    return SyntheticCrowds(COCO, "val", length=IMAGES, size=WIDTH, crowd=0.3)


def write_images(folder: Path) -> tuple[str, ...]:
    """Write the images as JPEG files and return their paths."""
    crowds = timed_crowds()
    paths = []
    for index in range(IMAGES):
        top = (WIDTH - HEIGHT) // 2
        image = crowds.load(index).image[top : top + HEIGHT]
        path = folder / f"{index}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        paths.append(str(path))
    return tuple(paths)


def crowd(people: int, skeleton: Skeleton) -> Poses:
    """Return people in a grid over the image, one per cell, so that none overlap."""
    columns = int(np.ceil(np.sqrt(people * WIDTH / HEIGHT))) or 1
    rows = -(-people // columns) or 1
    rng = np.random.default_rng(people)
    cell = np.array([WIDTH / columns, HEIGHT / rows])
    number = np.arange(people)
    origin = np.stack([number % columns, number // columns], -1) * cell
    within = rng.uniform(0.1, 0.9, (people, len(skeleton), 2))
    keypoints = torch.from_numpy(origin[:, None] + within * cell)
    low, high = keypoints.amin(1), keypoints.amax(1)
    return Poses(
        keypoints=keypoints,
        visibility=torch.full((people, len(skeleton)), 2),
        area=(high - low).prod(1),
        boxes=box_corners(torch.cat([low, high - low], 1)),
    )


def sample_of(image: NDArray[np.uint8], poses: Poses) -> Sample:
    """Return an image with its people as a sample."""
    return Sample(image, poses, image_id=1, name="image")


def resized(samples: list[Sample], resize: Resizing) -> Batch:
    """Return images of one size as a batch, resized as a recipe does it."""
    [(_, [batch])] = scaled_batches(samples, Inference(resize, flip=False))
    return batch


def fixed_batch(size: tuple[int, int], count: int, skeleton: Skeleton, people: int) -> Batch:
    """Return a batch (count, 3, *size) of noise, with the people of `crowd` scaled to its size."""
    height, width = size
    scale = torch.tensor([width / WIDTH, height / HEIGHT], dtype=torch.float64)
    poses = crowd(people, skeleton)
    poses = replace(
        poses,
        keypoints=poses.keypoints * scale,
        boxes=poses.boxes * scale,
        area=poses.area * scale.prod(),
    )
    generator = torch.Generator().manual_seed(0)
    to_image = torch.eye(2, 3, dtype=torch.float64).expand(count, 2, 3)
    return Batch(
        images=torch.randn(count, 3, height, width, generator=generator),
        poses=[poses] * count,
        masks={},
        geometry=Geometry(
            to_image=to_image.clone(),
            flipped=torch.zeros(count, dtype=torch.bool),
            sizes=torch.tensor([[width, height]]).expand(count, 2).clone(),
        ),
        image_ids=list(range(count)),
        names=["noise"] * count,
        seeds=[0] * count,
    )
