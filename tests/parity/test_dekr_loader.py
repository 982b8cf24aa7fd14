"""From real images to DEKR's targets against the published loader, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from posebench.models.dekr.recipes import STRIDE
from posebench.models.dekr.targets import batch_targets
from posebench.preprocess import collate, warp_sample
from posebench.structures import Batch, Sample
from tests.parity.compare import assert_close
from tests.parity.fixtures import cases
from tests.parity.test_cid_loader import find
from tests.parity.test_dekr_targets import config_of


@pytest.fixture(params=[pytest.param(p, id=p.stem) for p in cases("dekr", "targets_*.npz")])
def case(request: pytest.FixtureRequest) -> Any:
    return np.load(request.param)


@pytest.fixture
def sample(case: Any, shared_data: Any) -> Sample:
    """Return the photograph with its people, whose areas are the case's."""
    dataset, index = find(case, shared_data)
    sample = dataset.load(index)
    if "ann_segment_area" not in case:
        return sample
    known = (case["ann_keypoints"][..., 2] > 0).any(1)
    areas = torch.from_numpy(case["ann_segment_area"])
    poses = sample.poses
    for own, stored in ((poses.area, areas[known]), (poses.unlabelled_area, areas[~known])):
        # Some cases have areas of few digits in place of the annotated ones.
        edited = (own - stored).abs() > 1e-9 * own
        assert_close((10 * stored[edited]).round() / 10, stored[edited], absolute=1e-9)
    poses = replace(poses, area=areas[known], unlabelled_area=areas[~known])
    return replace(sample, poses=poses)


@pytest.fixture
def batch(case: Any, sample: Sample, shared_data: Any) -> Batch:
    dataset, _ = find(case, shared_data)
    side = int(case["input_size"])
    warped = warp_sample(
        sample,
        case["mat_input"],
        (side, side),
        mirror_with=dataset.skeleton if case["aug_flip"] else None,
        mask_strides=(STRIDE,),
    )
    return collate([warped])


def test_the_reader_finds_the_published_people(case: Any, sample: Sample) -> None:
    assert sample.size == tuple(case["image_size_wh"])
    known = (case["ann_keypoints"][..., 2] > 0).any(1)
    triples = torch.cat([sample.poses.keypoints, sample.poses.visibility[..., None]], -1)
    np.testing.assert_array_equal(triples.numpy(), case["ann_keypoints"][known])
    assert len(sample.poses.unlabelled) == (~known).sum()


def test_the_mask_is_the_published_one(case: Any, batch: Batch) -> None:
    np.testing.assert_array_equal(batch.masks[STRIDE][0], case["mask"].astype(bool))


def test_targets_of_the_image_are_the_published_ones(case: Any, batch: Batch) -> None:
    targets = batch_targets(batch, config_of(case))
    assert_close(targets.heatmaps[0], case["heatmap"], absolute=1e-6)
    assert_close(targets.heatmap_weights[0], case["heatmap_weight"], absolute=1e-6)
    # Sizes are equal to seven digits, and of contested cells all digits decide.
    alone = case["regions_per_cell"] < 2
    assert_close(targets.offsets[0][:, alone], case["offset"][:, alone], relative=1e-6)
    weights = targets.offset_weights[0]
    assert_close(weights[:, alone], case["offset_weight"][:, alone], relative=1e-6)
