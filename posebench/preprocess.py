"""From samples to a network's input batch: warp or resize, normalise, pad, stack.

`data.transforms` uses it with random augmentations, models with their test-time sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from posebench.errors import UsageError
from posebench.layers.affine import (
    Affine,
    apply,
    compose,
    invert,
    mirror_affine,
    network_map,
)
from posebench.skeleton import Skeleton
from posebench.structures import (
    Batch,
    DetrResize,
    FitResize,
    FixedResize,
    Geometry,
    Inference,
    Poses,
    Resize,
    Resizing,
    Sample,
)

# A worker that is forked while OpenCV's thread pool exists deadlocks, and several workers with a
# thread per core each would compete for the cores.
cv2.setNumThreads(0)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NetworkInput:
    """One sample at network size; pixels stay uint8, which is cheap to send between processes."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB, without padding
    poses: Poses  # in network-input pixels
    masks: dict[
        int, NDArray[np.bool_]
    ]  # stride -> (H / stride, W / stride), True where the loss counts
    to_image: Affine
    flipped: bool
    image_id: int | str
    name: str
    seed: int


def warp_sample(
    sample: Sample,
    matrix: Affine,
    size: tuple[int, int],
    *,
    mirror_with: Skeleton | None = None,
    mask_strides: tuple[int, ...] = (),
    seed: int = 0,
) -> NetworkInput:
    """Warp a sample by `matrix` to the network size (width, height).

    Args:
        mirror_with: mirror the image after the warp, and swap left and right keypoints of this
            skeleton; None: do not mirror.
        mask_strides: strides of the loss masks. They are False in the sample's ignored regions and
            on the border outside the image.
        seed: for targets that are drawn at random.
    """
    image = cv2.warpAffine(sample.image, matrix, size, flags=cv2.INTER_LINEAR)
    masks = {stride: _warp_mask(sample, matrix / stride, size, stride) for stride in mask_strides}
    full = matrix
    if mirror_with is not None:
        image = np.ascontiguousarray(image[:, ::-1])
        masks = {stride: np.ascontiguousarray(mask[:, ::-1]) for stride, mask in masks.items()}
        full = compose(mirror_affine(size[0]), matrix)
    return NetworkInput(
        image=image.astype(np.uint8, copy=False),
        poses=_warp_poses(sample.poses, full, mirror_with),
        masks=masks,
        to_image=invert(full),
        flipped=mirror_with is not None,
        image_id=sample.image_id,
        name=sample.name,
        seed=seed,
    )


def _warp_mask(
    sample: Sample, matrix: Affine, size: tuple[int, int], stride: int
) -> NDArray[np.bool_]:
    valid = np.full(sample.image.shape[:2], 255, np.uint8)
    if sample.ignore is not None:
        valid[sample.ignore] = 0
    width, height = size
    # As published: 0 and 255 are warped bilinearly and thresholded at one half.
    warped = cv2.warpAffine(valid, matrix, (width // stride, height // stride))
    return np.asarray(warped > 127, np.bool_)


def _warp_poses(poses: Poses, matrix: Affine, mirror_with: Skeleton | None) -> Poses:
    tensor = torch.from_numpy(matrix)
    keypoints, visibility = apply(poses.keypoints, tensor), poses.visibility
    boxes, unlabelled = apply(poses.boxes, tensor), apply(poses.unlabelled, tensor)
    crowds = apply(poses.crowds, tensor)
    if mirror_with is not None:
        order = list(mirror_with.flip_index)
        keypoints, visibility = keypoints[:, order], visibility[:, order]
        corners = [1, 0, 3, 2]  # the left corners remain on the left
        boxes, unlabelled = boxes[:, corners], unlabelled[:, corners]
        crowds = crowds[:, corners]
    growth = abs(np.linalg.det(matrix[:, :2]))
    return replace(
        poses,
        keypoints=keypoints,
        visibility=visibility,
        area=poses.area * growth,
        boxes=boxes,
        unlabelled=unlabelled,
        crowds=crowds,
        unlabelled_area=poses.unlabelled_area * growth,
    )


def antialiased(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image resized to (width, height) by Pillow's bilinear filter."""
    # A copy: Pillow returns a read-only array, about which torch warns.
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def resize_sample(
    sample: Sample, resize: Resizing, *, scale: float = 1.0, smallest: float = 1.0
) -> NetworkInput:
    """Resize a sample for testing.

    Args:
        scale: factor on the test-time size.
        smallest: the smallest of several scales; its size is rounded to a multiple (`Resize`
            only).
    """
    matrix, size = network_map(sample.size, resize, scale, smallest)
    if isinstance(resize, Resize):
        return warp_sample(sample, matrix, size)
    if isinstance(resize, DetrResize):
        image = antialiased(sample.image, size)
    else:
        image = np.asarray(cv2.resize(sample.image, size), np.uint8)
    return NetworkInput(
        image=image,
        poses=_warp_poses(sample.poses, matrix, None),
        masks={},
        to_image=invert(matrix),
        flipped=False,
        image_id=sample.image_id,
        name=sample.name,
        seed=0,
    )


def size_multiple(resize: Resizing) -> int | tuple[int, int]:
    """Return the multiple to which width and height are padded, or one for each."""
    if isinstance(resize, FixedResize):
        return resize.bounds
    return resize.multiple if isinstance(resize, FitResize) else 1


def padded_size(size: tuple[int, int], multiple: int | tuple[int, int]) -> tuple[int, int]:
    """Return a width and height as they are padded to a multiple, or to one each."""
    multiples = (multiple, multiple) if isinstance(multiple, int) else multiple
    width, height = (-(-side // own) * own for side, own in zip(size, multiples, strict=True))
    return width, height


def collate(inputs: Sequence[NetworkInput], *, multiple: int | tuple[int, int] = 1) -> Batch:
    """Stack inputs into a batch on the CPU, padded to the largest size.

    Args:
        inputs: of equal size if they have masks.
        multiple: to which width and height are padded; or one for each.
    """
    first = inputs[0]
    sizes = np.array([item.image.shape[1::-1] for item in inputs])
    return Batch(
        images=_stacked(inputs, padded_size(tuple(sizes.max(0).tolist()), multiple)),
        poses=[item.poses for item in inputs],
        masks={
            stride: torch.from_numpy(np.stack([item.masks[stride] for item in inputs]))
            for stride in first.masks
        },
        geometry=Geometry(
            to_image=torch.from_numpy(np.stack([item.to_image for item in inputs])),
            flipped=torch.tensor([item.flipped for item in inputs]),
            sizes=torch.from_numpy(sizes),
        ),
        image_ids=[item.image_id for item in inputs],
        names=[item.name for item in inputs],
        seeds=[item.seed for item in inputs],
    )


def _stacked(inputs: Sequence[NetworkInput], size: tuple[int, int]) -> Tensor:
    """Return the normalised images (B, 3, H, W), zero-padded at the bottom right to `size`."""
    width, height = size
    if all(item.image.shape == (height, width, 3) for item in inputs):
        return normalise(torch.from_numpy(np.stack([item.image for item in inputs])))
    images = torch.zeros(len(inputs), 3, height, width)
    for image, item in zip(images, inputs, strict=True):
        own_height, own_width, _ = item.image.shape
        [image[:, :own_height, :own_width]] = normalise(torch.from_numpy(item.image[None]))
    return images


def mirrored_images(batch: Batch) -> Tensor:
    """Return the images (B, 3, H, W) mirrored left to right; padding stays at the bottom right."""
    images = batch.images.flip(-1)
    if batch.padding is None:
        return images
    for image, own, (width, _) in zip(
        images, batch.images, batch.geometry.sizes.tolist(), strict=True
    ):
        image[..., :width] = own[..., :width].flip(-1)
        image[..., width:] = 0
    return images


def normalise(images: Tensor) -> Tensor:
    """Return uint8 RGB images (B, H, W, 3) as (B, 3, H, W) float32, normalised like ImageNet."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return (images.permute(0, 3, 1, 2).float() / 255 - mean) / std


def scaled_batches(
    samples: Sequence[Sample], inference: Inference
) -> Iterator[tuple[list[int], list[Batch]]]:
    """Resize samples for testing.

    Yields:
        The positions of samples that share a network size, and a batch of them for each scale, the
        scale nearest to 1 first. With several scales every batch has one sample, since sizes that
        are equal at one scale may differ at another. Samples are never padded to one another's
        size, so a prediction does not depend on the other samples of its batch.
    """
    first, *others = sorted(inference.scales, key=lambda scale: abs(scale - 1))
    smallest = min(inference.scales)
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, sample in enumerate(samples):
        _, size = network_map(sample.size, inference.resize, first, smallest)
        size = padded_size(size, size_multiple(inference.resize))
        groups.setdefault((*size, position) if others else size, []).append(position)
    for width, height, *_ in groups if isinstance(inference.resize, Resize) else ():
        sides = [side * scale / first for side in (width, height) for scale in inference.scales]
        if any(int(side) % 32 for side in sides):
            raise UsageError(
                f"Networks need widths and heights that are multiples of 32, but at the scales "
                f"{inference.label} an image would have others: choose 0.5, 1 and 2, for example."
            )
    for positions in groups.values():
        chosen = [samples[position] for position in positions]
        yield (
            positions,
            [_resized(chosen, inference.resize, scale, smallest) for scale in (first, *others)],
        )


def _resized(samples: Sequence[Sample], resize: Resizing, scale: float, smallest: float) -> Batch:
    return collate(
        [resize_sample(sample, resize, scale=scale, smallest=smallest) for sample in samples],
        multiple=size_multiple(resize),
    )


def blank_batch(sample: Sample, resize: Resizing) -> Batch:
    """Return the batch of one sample at scale 1, with blank pixels."""
    matrix, size = network_map(sample.size, resize, 1.0, 1.0)
    width, height = padded_size(size, size_multiple(resize))
    return Batch(
        images=torch.zeros(()).expand(1, 3, height, width),
        poses=[_warp_poses(sample.poses, matrix, None)],
        masks={},
        geometry=Geometry(
            to_image=torch.from_numpy(invert(matrix))[None],
            flipped=torch.tensor([False]),
            sizes=torch.tensor([size]),
        ),
        image_ids=[sample.image_id],
        names=[sample.name],
        seeds=[0],
    )
