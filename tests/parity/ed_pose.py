"""ED-Pose's fixtures as networks, images and tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.engine.weights import convert_published
from posebench.layers.deformable import Tokens
from posebench.models.ed_pose.model import EDPose
from posebench.models.ed_pose.recipes import EDPoseConfig
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from tests.parity.device import DEVICE, placed
from tests.parity.fixtures import cases, first_64, key_file, stored_tensors
from tests.parity.reference import reference_state_dict

CHANNELS = 256  # of every published network


def skeleton_of(num_keypoints: int) -> Skeleton:
    return {len(skeleton): skeleton for skeleton in (COCO, CROWDPOSE, MPII)}[num_keypoints]


def paths(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in cases("edpose", pattern)]


def keys_of(path: Path, keypoints: int, levels: int = 4) -> Path:
    """Return the key file of a case's network, with so many keypoints and levels."""
    with np.load(path) as case:
        known = stored_tensors(case)
    known["transformer.decoder.hw.weight"] = (keypoints, 2)
    known["transformer.level_embed"] = first_64((levels, CHANNELS))
    return key_file(path, known, first_64)


def gain_of(case: dict[str, Tensor]) -> float:
    return float(case.get("weight_gain", 1.0))


@lru_cache(maxsize=2)
def published_weights(keys: Path, gain: float) -> dict[str, Tensor]:
    return reference_state_dict(keys, gain)


@lru_cache(maxsize=2)
def load_model(keys: Path, gain: float = 1.0, queries: int = 900, people: int = 100) -> EDPose:
    """Return the network of a key file with the reference weights."""
    published = published_weights(keys, gain)
    model = build(keys, published, queries, people)
    model.load_state_dict(
        convert_published(published, model.published_names, model.ignored_checkpoint_keys)
    )
    return placed(model.eval())


def build(
    keys: Path, published: Mapping[str, Tensor], queries: int = 900, people: int = 100
) -> EDPose:
    """Return the network of a key file, untrained."""
    backbone, _ = keys.name.removesuffix(".keys.json").rsplit("_", 1)
    own_head = f"pose_embed.{EDPoseConfig().pose_layers}.layers.0.weight"
    config = EDPoseConfig(
        backbone=re.sub(r"_\d+scale$", "", backbone),
        levels=len(published["transformer.level_embed"]),
        box_queries=queries,
        people=people,
        first_centres="own head" if own_head in published else "first layer's head",
    )
    return EDPose(config, skeleton_of(len(published["transformer.decoder.hw.weight"])))


def our_name(model: EDPose, published: str) -> str:
    """Return our name of a published parameter; the heads' gradients are under the decoder."""
    own = r"^transformer\.decoder\.(class|bbox|pose|pose_hw)_embed"
    plain = re.sub(own, r"\1_embed", published)
    [name] = convert_published({plain: torch.empty(0)}, model.published_names)
    return name


def images_of(case: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return a case's images in one batch, and their padding."""
    images = [case[name] for name in sorted(case) if re.fullmatch(r"image_\d+", name)]
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    batch = torch.zeros(len(images), 3, height, width, device=DEVICE)
    padding = torch.ones(len(images), height, width, dtype=torch.bool, device=DEVICE)
    for number, image in enumerate(images):
        batch[number, :, : image.shape[1], : image.shape[2]] = image
        padding[number, : image.shape[1], : image.shape[2]] = False
    return batch, padding if padding.any() else None


def sizes_of(case: dict[str, Tensor]) -> tuple[tuple[int, int], ...]:
    return tuple((height, width) for height, width in case["spatial_shapes"].tolist())


def tokens_of(case: dict[str, Tensor]) -> Tokens:
    """Return a case's tokens; their positions are not used after the encoder."""
    sizes = sizes_of(case)
    whole = placed(torch.tensor([(width, height) for height, width in sizes]))
    memory = case["memory"]
    extents = (
        case["valid_ratios"] * whole
        if "valid_ratios" in case
        else extents_of(case["padding_mask"], sizes)
    )
    return Tokens(memory, memory, case["padding_mask"], extents, sizes)


def extents_of(padding: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """Return (B, L, 2) width and height without padding of flattened masks (B, S)."""
    inside = (~padding).split([height * width for height, width in sizes], 1)
    counts = []
    for own, (height, width) in zip(inside, sizes, strict=True):
        grid = own.view(-1, height, width)
        counts.append(torch.stack([grid[:, 0].sum(1), grid[:, :, 0].sum(1)], -1))
    return torch.stack(counts, 1).float()
