"""DEKR's targets and losses against the published implementation, case by case of the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.layers.affine import square_affine
from posebench.layers.heatmaps import cell_poses
from posebench.models.dekr.losses import heatmap_loss, offset_loss
from posebench.models.dekr.recipes import STRIDE, DEKRConfig
from posebench.models.dekr.targets import build_targets, find_people, image_corners
from posebench.preprocess import collate, warp_sample
from posebench.structures import Batch, Poses, Sample
from tests.parity.compare import assert_close
from tests.parity.dekr import arrays, rows, skeleton_of
from tests.parity.device import cpu_tensor, placed, tensor
from tests.parity.fixtures import cases


def config_of(case: Any) -> DEKRConfig:
    """Return what the released configurations of a data set differ in."""
    if case["is_crowdpose"]:
        return DEKRConfig(centre_sigma=2.0, min_person_area=0.0)
    return DEKRConfig()


def batch_of(case: Any) -> Batch:
    """Return the augmented image of a case, with the published matrix and mask."""
    keypoints = cpu_tensor(case["ann_keypoints"])
    skeleton = skeleton_of(keypoints.shape[1])
    width, height = case["image_size_wh"].tolist()
    area = torch.ones(len(keypoints), dtype=torch.float64)
    if "ann_segment_area" in case:
        area = cpu_tensor(case["ann_segment_area"])
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
    return placed(replace(batch, masks={STRIDE: cpu_tensor(case["mask"])[None] > 0}))


@pytest.mark.parametrize("row", rows("affine_train*.json"))
def test_affine_train(row: dict[str, Any]) -> None:
    crop = (row["center"], 200 * row["scale"], row["rotation_deg"])
    for kind in ("input", "output"):
        matrix = square_affine(*crop, row[f"{kind}_size"])
        assert_close(matrix, row[f"matrix_{kind}"], absolute=1e-3)
    area_factor = np.linalg.det(square_affine(*crop, row["input_size"])[:, :2])
    assert area_factor == pytest.approx(row["area_factor"], rel=1e-6)


@pytest.mark.parametrize("row", rows("affine_train*.json"))
def test_affine_train_moves_people(row: dict[str, Any]) -> None:
    everyone = cpu_tensor(row["keypoints_in"]).double()
    keypoints, centres = everyone[:, :-1], everyone[:, -1, :2]
    skeleton = skeleton_of(keypoints.shape[1])
    # A box on the centre shows where that one goes.
    boxes = centres[:, None].expand(-1, 4, -1)
    poses = Poses(keypoints[..., :2], keypoints[..., 2].long(), torch.ones(len(boxes)), boxes)
    side = row["input_size"]
    warped = warp_sample(
        Sample(np.zeros((row["image_h"], row["image_w"], 3), np.uint8), poses),
        square_affine(row["center"], 200 * row["scale"], row["rotation_deg"], side),
        (side, side),
        mirror_with=skeleton if row["flip"] else None,
    )
    (cells,) = cell_poses(collate([warped]), STRIDE)
    points = torch.cat([cells.keypoints, cells.boxes[:, :1]], 1)
    assert_close(points, np.asarray(row["keypoints_output"])[..., :2], absolute=1e-3)


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
    people = placed(replace(people, size=cpu_tensor(case["size"][known])[None]))
    output = int(case["output_size"])
    targets = build_targets(
        people, (output, output), batch.masks[STRIDE][:, None], config.centre_sigma
    )
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


def test_every_case_is_covered() -> None:
    patterns = (
        "affine_train*.json", "resize_test*.json", "targets_*.npz", "forward_*.npz",
        "adaptive_block*.npz", "initial_values*.npz", "decode_*.npz", "nms*.npz", "match*.npz",
        "rescore*.npz", "loss_*.npz", "*.keys.json",
    )  # fmt: skip
    covered = {path for pattern in patterns for path in cases("dekr", pattern)}
    assert covered == {*cases("dekr", "*.npz"), *cases("dekr", "*.json")}
