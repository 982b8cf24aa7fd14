"""Training augmentation: a random warp per (seed, epoch, image), whatever process draws it."""

from __future__ import annotations

import zlib

import numpy as np

from posebench.layers.affine import square_affine
from posebench.layers.inputs import NetworkInput, warp_sample
from posebench.structures import Augment, Sample, Skeleton


def image_seed(seed: int, epoch: int, image_id: int) -> int:
    """Return the seed of everything drawn for one image in one epoch.

    A worker's own generator would give other draws after a resume, so none is used.
    """
    return zlib.crc32(f"{seed} {epoch} {image_id}".encode())


def augment_sample(sample: Sample, augment: Augment, skeleton: Skeleton, seed: int) -> NetworkInput:
    """Turn, scale, shift and mirror a sample onto a square network input.

    Source: the training warp of CID and HigherHRNet. The scale is relative to the short side;
    the shift is a whole number of source pixels.
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
