"""Targets of methods that predict sets: each image's labelled people, in shares of its size.

Shapes: P people of one image, or of all images together; K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from posebench.structures import Batch
from posebench.transfer import moved, to_device


@dataclass(frozen=True)
class PoseSets:
    """The labelled people of each image; lengths are shares of its width and height, float32."""

    keypoints: list[Tensor]  # (P, K, 2) x, y
    visible: list[Tensor]  # (P, K) bool, True where a keypoint is labelled
    area: list[Tensor]  # (P,) as shares of the image's
    boxes: list[Tensor]  # (P, 4) centre x, y, width, height

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def counts(self) -> list[int]:
        """P of each image."""
        return [len(area) for area in self.area]

    @cached_property
    def together(self) -> People:
        """The people of all images, one image after the other."""
        images = torch.tensor([i for i, count in enumerate(self.counts) for _ in range(count)])
        [images] = to_device([images.long()], self.area[0].device)
        parts = (self.keypoints, self.visible, self.area, self.boxes)
        return People(images, *map(torch.cat, parts))


@dataclass(frozen=True)
class People:
    """What `PoseSets` holds, of P people of several images."""

    images: Tensor  # (P,) int64, whose people they are
    keypoints: Tensor  # (P, K, 2)
    visible: Tensor  # (P, K)
    area: Tensor  # (P,)
    boxes: Tensor  # (P, 4)


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
