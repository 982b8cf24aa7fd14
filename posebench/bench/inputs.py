"""The fixed inputs that every model is timed on: drawn crowds of COCO's most frequent size.

What is on a picture hardly changes a network's time. How many people are found changes the time of
what follows it, and random weights find nobody or everywhere somebody: so the people are given to
networks that take them, and decoding reads the outputs of a perfect network.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.preprocess import scaled_batches
from posebench.structures import (
    COCO,
    Batch,
    Geometry,
    Inference,
    Poses,
    Resizing,
    Sample,
    Skeleton,
    box_corners,
)

WIDTH, HEIGHT = 640, 480
PICTURES = 4


def write_pictures(folder: Path) -> tuple[str, ...]:
    """Draw the pictures, save them as JPEG and return their paths."""
    crowds = SyntheticCrowds(COCO, "val", size=WIDTH, crowd=0.3)
    paths = []
    for index in range(PICTURES):
        top = (WIDTH - HEIGHT) // 2
        image = crowds.load(index).image[top : top + HEIGHT]
        path = folder / f"{index}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        paths.append(str(path))
    return tuple(paths)


def crowd(people: int, skeleton: Skeleton) -> Poses:
    """Return people side by side in rows over the picture, nobody on another's place."""
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
    return Sample(image, poses, image_id=1, name="picture")


def resized(samples: list[Sample], resize: Resizing) -> Batch:
    """Return pictures of one size as the recipe's network input."""
    [(_, [batch])] = scaled_batches(samples, Inference(resize, flip=False))
    return batch


def fixed_batch(size: tuple[int, int], count: int, skeleton: Skeleton, people: int) -> Batch:
    """Return inputs (count, 3, *size) of noise, whose people stand as on the pictures."""
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


def moved(value: Any, device: torch.device) -> Any:
    """Return an outputs value with all its tensors on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: moved(getattr(value, field.name), device) for field in fields(value)}
        return replace(value, **parts)
    if isinstance(value, (tuple, list)):
        return type(value)(moved(part, device) for part in value)
    return value
