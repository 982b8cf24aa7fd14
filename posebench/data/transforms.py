"""Training augmentation, determined by (seed, epoch, image id) whichever process runs it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.layers.affine import (
    Affine,
    apply,
    compose,
    detr_size,
    invert,
    mirror_affine,
    square_affine,
    stretch_affine,
)
from posebench.layers.torso import add_torso
from posebench.preprocess import NetworkInput, antialiased, warp_sample
from posebench.skeleton import Skeleton
from posebench.structures import Augment, Augmentation, CropAugment, DetrAugment, Poses, Sample


def image_seed(seed: int, epoch: int, image_id: int | str) -> int:
    """Return the seed of all random draws for one image in one epoch.

    Generators of worker processes are not used: after a resume their draws would differ.
    """
    return zlib.crc32(f"{seed} {epoch} {image_id}".encode())


def augment_sample(
    sample: Sample, augment: Augmentation, skeleton: Skeleton, seed: int
) -> NetworkInput:
    """Return the augmented network input of a sample; `seed` determines all random draws."""
    if isinstance(augment, DetrAugment):
        return _resize_or_crop(sample, augment, skeleton, seed)
    if isinstance(augment, CropAugment):
        return _crop_around_person(sample, augment, skeleton, seed)
    return _warp_to_square(sample, augment, skeleton, seed)


def _warp_to_square(
    sample: Sample, augment: Augment, skeleton: Skeleton, seed: int
) -> NetworkInput:
    """Rotate, scale, shift and flip a sample onto a square network input.

    The scale is relative to the short side; the shift is a whole number of source pixels.

    Source: the training warp of CID and HigherHRNet.
    """
    rng = np.random.default_rng(seed)
    width, height = sample.size
    side = min(width, height) * rng.uniform(*augment.scale)
    rotation_deg = rng.uniform(-augment.rotation_deg, augment.rotation_deg)
    # The published code counts sides in units of 200 px and draws integers below 40 such units.
    reach = int(augment.translation * side / 200)
    shift = rng.integers(-reach, reach, size=2) if reach else np.zeros(2, int)
    flip = rng.uniform() < augment.flip
    matrix = square_affine(
        (width / 2 + int(shift[0]), height / 2 + int(shift[1])), side, rotation_deg, augment.size
    )
    return warp_sample(
        sample,
        matrix,
        (augment.size, augment.size),
        mirror_with=skeleton if flip else None,
        mask_strides=augment.mask_strides,
        seed=seed,
    )


def _resize_or_crop(
    sample: Sample, augment: DetrAugment, skeleton: Skeleton, seed: int
) -> NetworkInput:
    """Flip a sample at random, sometimes crop it, and resize it to a random size.

    Source: DETR's augmentation, with the sizes of Group Pose's published loader.
    """
    rng = np.random.default_rng(seed)
    # Group Pose does not use the boxes of crowd regions and of unlabelled people.
    no_boxes, no_area = sample.poses.unlabelled[:0], sample.poses.unlabelled_area[:0]
    poses = replace(sample.poses, unlabelled=no_boxes, crowds=no_boxes, unlabelled_area=no_area)
    view = _View(sample.image, poses, np.eye(2, 3))
    if augment.box_area:
        view = replace(view, poses=replace(view.poses, area=_box_area(view.poses.boxes)))
    flip = bool(rng.uniform() < augment.flip)
    if flip:
        view = view.mirrored(skeleton)
    if rng.uniform() < augment.crop:
        view = _random_crop(view, augment, rng)
    short_side = int(rng.choice(augment.short_sides))
    view = view.resized(detr_size(view.size, short_side, augment.long_side))
    return NetworkInput(
        image=view.image,
        poses=view.poses,
        masks={},
        to_image=invert(view.from_image),
        flipped=flip,
        image_id=sample.image_id,
        name=sample.name,
        seed=seed,
    )


def _random_crop(view: _View, augment: DetrAugment, rng: np.random.Generator) -> _View:
    view = view.resized(detr_size(view.size, int(rng.choice(augment.crop_short_sides)), None))
    low, high = augment.crop_sides
    # A side shorter than the smallest crop is kept whole.
    width, height = (int(rng.integers(min(low, s), min(high, s) + 1)) for s in view.size)
    left = int(rng.integers(view.size[0] - width + 1))
    top = int(rng.integers(view.size[1] - height + 1))
    return view.cropped(top, left, height, width)


def _crop_around_person(
    sample: Sample, augment: CropAugment, skeleton: Skeleton, seed: int
) -> NetworkInput:
    """Crop a square of random size around the centre of a person's box and flip it at random.

    Source: PoseDet, Sec. 4.1; the choice among people with many keypoints is the published code's.
    """
    rng = np.random.default_rng(seed)
    width, height = sample.size
    centre = (width / 2, height / 2)
    people = crop_centres(sample.poses, skeleton)
    if len(people):
        x, y = people[rng.integers(len(people))].tolist()
        centre = (x, y)
    side = augment.size * rng.uniform(*augment.scale)
    flip = bool(rng.uniform() < augment.flip)
    return crop_sample(sample, centre, side, augment.size, skeleton if flip else None, seed)


def crop_centres(poses: Poses, skeleton: Skeleton) -> Tensor:
    """Return the centres (N, 2) of the boxes of the people who may be a crop's centre.

    These are the half with more labelled keypoints, and the middle person of an odd number. The
    torso point of an even skeleton is counted too. People without labelled keypoints have a count
    of 0.

    Source: PoseDet's published code. It sorts people by count, so among equals the later ones stay.
    """
    boxes = torch.cat([poses.boxes, poses.unlabelled])
    counts = torch.zeros(len(boxes), dtype=torch.int64)
    annotated = poses if len(skeleton) % 2 else add_torso(poses, skeleton)
    counts[: len(poses)] = (annotated.visibility > 0).sum(1)
    order = counts.argsort(stable=True)
    return boxes[order[len(boxes) // 2 :]].mean(1)


def crop_sample(
    sample: Sample,
    centre: tuple[float, float],
    side: float,
    size: int,
    mirror_with: Skeleton | None = None,
    seed: int = 0,
) -> NetworkInput:
    """Crop a square of `side` image pixels and resize it to `size` pixels.

    As published, people stay if the centre of their box lies in the crop, and their keypoints
    outside stay labelled.
    """
    matrix = square_affine(centre, side, 0.0, size)
    warped = warp_sample(sample, matrix, (size, size), mirror_with=mirror_with, seed=seed)

    def within(boxes: Tensor) -> Tensor:
        middle = boxes.mean(1)
        return ((middle >= 0) & (middle <= size - 1)).all(1)

    poses = warped.poses[within(warped.poses.boxes)]
    unlabelled = within(poses.unlabelled)
    poses = replace(
        poses,
        unlabelled=poses.unlabelled[unlabelled],
        unlabelled_area=poses.unlabelled_area[unlabelled],
        crowds=poses.crowds[within(poses.crowds)],
    )
    return replace(warped, poses=poses)


@dataclass(frozen=True)
class _View:
    """An image and its people between two steps of the augmentation."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    poses: Poses  # in this image's pixels
    from_image: Affine  # from the sample's pixels

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    def mirrored(self, skeleton: Skeleton) -> _View:
        """Return the mirror image; as published, keypoints move to w - x - 1 but boxes to w - x."""
        width = self.size[0]
        matrix = mirror_affine(width)
        order = list(skeleton.flip_index)
        boxes = self.poses.boxes[:, [1, 0, 3, 2]]  # left corners stay left
        poses = replace(
            self.poses,
            keypoints=apply(self.poses.keypoints, torch.from_numpy(matrix))[:, order],
            visibility=self.poses.visibility[:, order],
            boxes=torch.stack([width - boxes[..., 0], boxes[..., 1]], -1),
        )
        image = np.ascontiguousarray(self.image[:, ::-1])
        return _View(image, poses, compose(matrix, self.from_image))

    def resized(self, size: tuple[int, int]) -> _View:
        matrix = stretch_affine(self.size, size)
        tensor = torch.from_numpy(matrix)
        poses = replace(
            self.poses,
            keypoints=apply(self.poses.keypoints, tensor),
            area=self.poses.area * np.linalg.det(matrix[:, :2]),
            boxes=apply(self.poses.boxes, tensor),
        )
        return _View(antialiased(self.image, size), poses, compose(matrix, self.from_image))

    def cropped(self, top: int, left: int, height: int, width: int) -> _View:
        """Return a part of the image and the people whose boxes overlap it.

        As published, keypoints outside are moved to its border and stay labelled, and a person's
        area becomes that of the clipped box.
        """
        corner = torch.tensor([left, top], dtype=torch.float64)
        size = torch.tensor([width, height], dtype=torch.float64)

        def moved(points: Tensor) -> Tensor:
            return (points - corner).clamp(min=0).minimum(size)

        boxes = moved(self.poses.boxes)
        area = _box_area(boxes)
        poses = replace(self.poses, keypoints=moved(self.poses.keypoints), area=area, boxes=boxes)[
            area > 0
        ]
        image = self.image[top : top + height, left : left + width]
        shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]])
        return _View(image, poses, compose(shift, self.from_image))


def _box_area(boxes: Tensor) -> Tensor:
    return (boxes[:, 3] - boxes[:, 0]).prod(1)
