"""Small values that several tests build on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from posebench.data import LAYOUTS
from posebench.data.annotations import check_content, content_of
from posebench.ground_truth import GroundTruth
from posebench.preprocess import collate, warp_sample
from posebench.skeleton import COCO, Skeleton
from posebench.structures import Batch, Poses, Protocol, Sample, box_corners

# Of the datasets that are files.
PROTOCOLS = {name: layout.protocol for name, layout in LAYOUTS.items() if layout.annotations}


def make_poses(people: int, skeleton: Skeleton = COCO, size: int = 128, seed: int = 0) -> Poses:
    """Return people side by side, all joints visible, a third of the image tall."""
    rng = np.random.default_rng(seed)
    height = size / 3
    columns = (np.arange(people) + 0.5) * size / max(people, 1)
    spread = rng.uniform(-0.5, 0.5, (people, len(skeleton), 2)) * height
    centres = np.stack([columns, np.full(people, size / 2)], -1)
    # Off the border, where CID's mean filter pulls a peak inward.
    keypoints = torch.from_numpy(np.clip(centres[:, None] + spread, 0.05 * size, 0.95 * size))
    low, high = keypoints.amin(1), keypoints.amax(1)
    boxes = torch.cat([low, high - low], 1)
    return Poses(
        keypoints,
        torch.full((people, len(skeleton)), 2),
        (high - low).prod(1),
        box_corners(boxes),
    )


def make_sample(people: int, skeleton: Skeleton = COCO, size: int = 128, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    poses = make_poses(people, skeleton, size, seed) if people else Poses.empty(len(skeleton))
    return Sample(image, poses, seed + 1, f"{seed}.png")


def make_batch(people: tuple[int, ...], skeleton: Skeleton = COCO, size: int = 128) -> Batch:
    """Return a batch with so many people per image, as the loader would."""
    identity = np.eye(2, 3)
    return collate(
        [
            warp_sample(
                make_sample(count, skeleton, size, seed),
                identity,
                (size, size),
                mask_strides=(4, 2, 1),
                seed=seed,
            )
            for seed, count in enumerate(people)
        ]
    )


def read_picture(path: Path | str) -> NDArray[np.uint8]:
    """Return the (H, W, 3) BGR pixels of a picture that a command has drawn."""
    image = cv2.imread(str(path))
    assert image is not None, f"{path} is no picture"
    return np.asarray(image, np.uint8)


def truth_of(content: dict[str, Any], protocol: Protocol | None = None) -> GroundTruth:
    """Return annotations in COCO's format as the reader does, by default of COCO's keypoints."""
    path = Path("gt.json")
    return check_content(content_of(content, path), path, protocol or PROTOCOLS["coco"])


def write_coco(root: Path, people: tuple[int, ...] = (1, 2), split: str = "train") -> Path:
    """Write a COCO dataset of random pictures and return its annotation file."""
    folder = root / "coco"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / f"{split}2017").mkdir(parents=True, exist_ok=True)
    for number, count in enumerate(people, start=1):
        sample = make_sample(count, seed=number)
        name = f"{number:012}.jpg"
        cv2.imwrite(str(folder / f"{split}2017" / name), sample.image)
        images.append({"id": number, "file_name": name, "width": 128, "height": 128})
        annotations += coco_annotations(sample, first_id=len(annotations) + 1, image_id=number)
    path = folder / "annotations" / f"person_keypoints_{split}2017.json"
    path.parent.mkdir(exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    path.write_text(json.dumps(content))
    return path


def coco_annotations(sample: Sample, first_id: int, image_id: int) -> list[dict[str, Any]]:
    people = []
    for number in range(len(sample.poses)):
        keypoints = sample.poses.keypoints[number].round()
        low, high = keypoints.amin(0), keypoints.amax(0)
        triples = torch.cat([keypoints, torch.full((len(keypoints), 1), 2.0)], 1)
        people.append(
            {
                "id": first_id + number,
                "image_id": image_id,
                "category_id": 1,
                "keypoints": triples.flatten().tolist(),
                "num_keypoints": len(keypoints),
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "area": float((high - low).prod()),
                "iscrowd": 0,
            }
        )
    return people
