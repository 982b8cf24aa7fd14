"""A small network and batches with padding, for the tests beside."""

from __future__ import annotations

from dataclasses import replace

from posebench.models import RECIPES
from posebench.models.group_pose.recipes import GroupPoseConfig
from posebench.preprocess import collate, resize_sample
from posebench.structures import Batch, DetrResize
from tests.builders import make_sample

_CONFIG = RECIPES["group_pose_tiny"].config
assert isinstance(_CONFIG, GroupPoseConfig)
TINY = replace(_CONFIG, channels=64, hidden=64, decoder_layers=2, instances=12)


def padded_batch(people: tuple[int, ...] = (2, 1)) -> Batch:
    """Return a batch in which all images but the first are narrower and padded."""
    samples = [make_sample(count, seed=seed) for seed, count in enumerate(people)]
    cut = [replace(s, image=s.image[:, : 128 - 24 * i]) for i, s in enumerate(samples)]
    return collate([resize_sample(sample, DetrResize(128, 128)) for sample in cut])
