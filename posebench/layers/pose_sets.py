"""Targets of methods that predict sets: each image's labelled people, in shares of its size.

Shapes: P people of one image, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.structures import Batch
from posebench.transfer import moved


@dataclass(frozen=True)
class PoseSets:
    """The labelled people of each image; lengths are shares of its width and height, float32."""

    keypoints: list[Tensor]  # (P, K, 2) x, y
    visible: list[Tensor]  # (P, K) bool, True where a keypoint is labelled
    area: list[Tensor]  # (P,) as shares of the image's
    boxes: list[Tensor]  # (P, 4) centre x, y, width, height

    def __len__(self) -> int:
        return sum(len(area) for area in self.area)


def build_targets(batch: Batch) -> PoseSets:
    """Return the people of a batch who have a labelled keypoint, on its device."""
    return moved(labelled_people(batch), batch.device)


def labelled_people(batch: Batch) -> PoseSets:
    """Return `build_targets` on the CPU, where shapes can be read without a wait."""
    keypoints, visible, area, boxes = [], [], [], []
    for poses, size in zip(batch.poses, batch.geometry.sizes, strict=True):
        labelled = poses[(poses.visibility > 0).any(1)]
        keypoints.append((labelled.keypoints / size).float())
        visible.append(labelled.visibility > 0)
        area.append((labelled.area / size.prod()).float())
        low, high = labelled.boxes[:, 0], labelled.boxes[:, 3]
        boxes.append(torch.cat([(low + high) / 2 / size, (high - low) / size], 1).float())
    return PoseSets(keypoints, visible, area, boxes)
