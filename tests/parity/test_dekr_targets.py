"""DEKR's targets and losses against the published implementation, case by case of the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.layers.affine import square_affine
from posebench.models.dekr.losses import heatmap_loss, offset_loss
from posebench.models.dekr.recipes import DEKRConfig
from posebench.models.dekr.targets import build_targets, find_people, image_corners
from posebench.preprocess import collate, warp_sample
from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from posebench.structures import Batch, Poses, Sample
from tests.parity.compare import assert_close
from tests.parity.fixtures import cases

SKELETONS = {17: COCO, 14: CROWDPOSE}


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array))


def arrays(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in cases("dekr", pattern)]


def config_of(case: Any) -> DEKRConfig:
    """Return what the released configurations of a data set differ in."""
    if case["is_crowdpose"]:
        return DEKRConfig(centre_sigma=2.0, min_person_area=0.0)
    return DEKRConfig()


def batch_of(case: Any) -> Batch:
    """Return the augmented image of a case, with the published matrix and mask."""
    keypoints = tensor(case["ann_keypoints"])
    skeleton: Skeleton = SKELETONS[keypoints.shape[1]]
    width, height = case["image_size_wh"].tolist()
    area = torch.ones(len(keypoints), dtype=torch.float64)
    if "ann_segment_area" in case:
        area = tensor(case["ann_segment_area"])
    known = (keypoints[..., 2] > 0).any(1)
    corners = torch.zeros(len(keypoints), 4, 2, dtype=torch.float64)
    everyone = Poses(keypoints[..., :2], keypoints[..., 2].long(), area, corners)
    poses = replace(everyone[known], unlabelled=corners[~known], unlabelled_area=area[~known])
    side = int(case["input_size"])
    # The published matrix itself: it comes from float32 points, and cells are truncated.
    warped = warp_sample(
        Sample(np.zeros((height, width, 3), np.uint8), poses),
        case["mat_input"],
        (side, side),
        mirror_with=skeleton if case["aug_flip"] else None,
    )
    batch = collate([warped])
    return replace(batch, masks={4: tensor(case["mask"])[None] > 0})


@pytest.mark.parametrize("path", arrays("targets_*.npz"))
def test_targets(path: Path) -> None:
    case = np.load(path)
    side = int(case["input_size"])
    augmentation = case["aug_center"], 200 * float(case["aug_scale"])
    matrix = square_affine(*augmentation, float(case["aug_rotation_deg"]), side)
    assert_close(matrix, case["mat_input"], absolute=1e-4)
    config, batch = config_of(case), batch_of(case)
    people = find_people(batch, config.min_person_area)

    known = (case["ann_keypoints"][..., 2] > 0).any(1)
    expected = case["keypoints"][known]
    assert_close(people.keypoints[0], expected[:, :-1, :2], absolute=1e-6)
    assert_close(people.labelled[0], expected[:, :-1, 2] > 0)
    assert_close(people.has_centre[0], expected[:, -1, 2] > 0)
    centred = people.has_centre[0].numpy()
    assert_close(people.centres[0, centred], expected[centred, -1, :2], absolute=1e-6)
    assert_close(people.size[0], case["size"][known], relative=1e-6)
    false = case["keypoints"][~known, -1]
    assert bool(people.has_corner[0]) == bool((false[:, 2] > 0).any())
    for corner in false[false[:, 2] > 0]:
        assert_close(image_corners(batch)[0], corner[:2], absolute=1e-6)

    # Which people of a cell overlap decides float32's rounding of their sizes, of all digits.
    people = replace(people, size=tensor(case["size"][known])[None])
    output = int(case["output_size"])
    targets = build_targets(people, (output, output), batch.masks[4][:, None], config.centre_sigma)
    assert_close(targets.heatmaps[0], case["heatmap"], absolute=1e-6)
    assert_close(targets.heatmap_weights[0], case["heatmap_weight"], absolute=1e-6)
    assert_close(targets.offsets[0], case["offset"], relative=1e-6)
    assert_close(targets.offset_weights[0], case["offset_weight"], relative=1e-6)


@pytest.mark.parametrize(
    "path", [case for case in arrays("loss_*.npz") if "train" not in str(case.id)]
)
def test_losses_and_gradients(path: Path) -> None:
    case = {name: tensor(value) for name, value in np.load(path).items()}
    heatmaps, offsets = (
        case[f"pred_{name}"].double().requires_grad_() for name in ("heatmap", "offset")
    )
    first = heatmap_loss(heatmaps, case["heatmap"].double(), case["heatmap_weight"].double())
    weights = case["offset_weight"].double()
    second = case["offset_factor"] * offset_loss(offsets, case["offset"].double(), weights)
    assert int((weights > 0).sum()) == case["num_positive"]
    first = case["heatmap_factor"] * first
    assert_close(first.detach(), case["heatmap_loss"], relative=1e-9)
    assert_close(second.detach(), case["offset_loss"], relative=1e-9)
    assert_close((first + second).detach(), case["total_loss"], relative=1e-9)
    (first + second).backward()
    assert_close(heatmaps.grad, case["grad_heatmap"], relative=1e-6)
    assert_close(offsets.grad, case["grad_offset"], relative=1e-6)
    nothing = offset_loss(offsets.detach(), case["offset"].double(), 0 * weights)
    assert_close(nothing, case["offset_loss_without_positive"])
