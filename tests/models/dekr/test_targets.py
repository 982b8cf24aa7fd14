"""DEKR's targets against hand-worked values; the published numbers are in tests/parity."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebench.models.dekr.recipes import DEKRConfig
from posebench.models.dekr.targets import (
    BACKGROUND_WEIGHT,
    People,
    batch_targets,
    build_targets,
    find_people,
    gaussians,
    image_corners,
    person_sizes,
    regression,
)
from posebench.structures import Batch, Geometry, Poses, box_corners
from tests.builders import make_batch

SIZE = (20, 24)  # H, W


def people_at(centres: list[list[float]], sizes: list[float]) -> People:
    """Return people of one image with two keypoints, left of and below their centre."""
    middle = torch.tensor([centres], dtype=torch.float64)
    steps = torch.tensor([[-1.5, 0.0], [0.0, 2.25]], dtype=torch.float64)
    count = len(centres)
    return People(
        keypoints=middle[:, :, None] + steps,
        labelled=torch.ones(1, count, 2, dtype=torch.bool),
        centres=middle,
        has_centre=torch.ones(1, count, dtype=torch.bool),
        size=torch.tensor([sizes], dtype=torch.float64),
        corner=torch.zeros(1, 2, dtype=torch.float64),
        has_corner=torch.zeros(1, dtype=torch.bool),
    )


def test_a_gaussian_lies_on_the_exact_position() -> None:
    points = torch.tensor([[[[8.25, 10.0]]]], dtype=torch.float64)
    maps, near = gaussians(points, torch.ones(1, 1, 1, dtype=torch.bool), SIZE, 2.0)
    assert maps[0, 0, 10, 8] == pytest.approx(math.exp(-(0.25**2) / 8))
    assert maps[0, 0, 12, 9] == pytest.approx(math.exp(-(0.75**2 + 2**2) / 8))
    # From floor(8.25 - 7) to ceil(8.25 + 8) - 1, and from 3 to 17.
    columns, rows = near[0, 0].any(0).nonzero()[:, 0], near[0, 0].any(1).nonzero()[:, 0]
    assert [columns.min(), columns.max(), rows.min(), rows.max()] == [1, 16, 3, 17]


def test_the_highest_gaussian_counts_and_points_outside_have_none() -> None:
    points = torch.tensor([[[[8.0, 9.0]], [[10.0, 9.0]], [[-0.5, 9.0]], [[3.0, 20.0]]]])
    maps, _ = gaussians(points.double(), torch.ones(1, 4, 1, dtype=torch.bool), SIZE, 2.0)
    assert maps[0, 0, 9, 8] == maps[0, 0, 9, 10] == 1
    assert maps[0, 0, 9, 9] == pytest.approx(math.exp(-1 / 8))
    assert maps[0, 0, 9, 0] == 0  # eight cells from the first
    assert maps[0, 0, 19, 3] < math.exp(-36 / 8)


def test_weights_are_low_where_there_is_nothing_and_zero_where_masked() -> None:
    mask = torch.ones(1, 1, *SIZE, dtype=torch.bool)
    mask[..., 9, 9] = False
    targets = build_targets(people_at([[9, 9]], [100]), SIZE, mask, 1.0)
    weights = targets.heatmap_weights[0, 2]
    assert weights[9, 9] == 0
    assert weights[9, 10] == 1
    assert weights[0, 0] == pytest.approx(BACKGROUND_WEIGHT)
    assert targets.offset_weights[0, 0, 9, 9] > 0


def test_offsets_lead_from_eight_by_eight_cells_to_the_keypoints() -> None:
    offsets, weights = regression(people_at([[9.75, 9.0]], [100]), SIZE)
    trained = (weights[0] > 0).nonzero()
    # Truncated to the cell (9, 9): from 4 before it to 3 after it.
    assert trained[:, 1:].amin(0).tolist() == [5, 5]
    assert trained[:, 1:].amax(0).tolist() == [12, 12]
    assert (weights[0] > 0).sum() == 4 * 64
    assert torch.allclose(weights[weights > 0], torch.tensor(0.1))
    assert offsets[0, :, 6, 7].tolist() == [7 - 8.25, 6 - 9.0, 7 - 9.75, 6 - 11.25]


def test_a_centre_just_outside_still_has_offsets_and_no_gaussian() -> None:
    people = people_at([[-0.5, 9.0], [-1.0, 15.0]], [100, 100])
    people = replace(people, keypoints=people.keypoints + 3)
    targets = build_targets(people, SIZE, torch.ones(1, 1, *SIZE, dtype=torch.bool), 1.0)
    assert targets.heatmaps[0, 2].max() == 0
    assert targets.offset_weights[0, 0, 9, 0] > 0  # truncated toward zero
    assert targets.offset_weights[0, 0, 15, 0] == 0


@pytest.mark.parametrize(
    ("sizes", "centre"),
    [
        ([100, 50], 10),  # the smaller one wins
        ([50, 100], 9),
        ([50, 50], 10),  # of equals the later one
    ],
)
def test_the_smaller_of_two_people_wins(sizes: list[float], centre: int) -> None:
    offsets, _ = regression(people_at([[9, 9], [10, 9]], sizes), SIZE)
    assert offsets[0, [0, 2], 9, 10].tolist() == [10 - (centre - 1.5), 10 - centre]


@pytest.mark.parametrize(("step", "holder"), [(1e-9, 0), (-1e-9, 1)])
def test_rounding_decides_once_a_person_has_written_a_keypoint(step: float, holder: int) -> None:
    """The first keypoint of the second person, who is larger, is not set yet, so it is written.

    Then the remembered size is the person's own in float32, which is 64: not below 64 - 1e-9.
    """
    people = people_at([[9, 9], [10, 9]], [10, 64 + step])
    labelled = people.labelled.clone()
    labelled[0, 0, 0] = False
    offsets, _ = regression(replace(people, labelled=labelled), SIZE)
    first, second = offsets[0, 0, 9, 9].item(), offsets[0, 2, 9, 9].item()
    assert first == 9 - 8.5
    assert second == (9 - 9 if holder == 0 else 9 - 10)


def test_a_person_on_the_images_first_pixel_has_a_finite_weight() -> None:
    _, weights = regression(people_at([[9, 9]], [0]), SIZE)
    assert weights.max() == 1


def batch_of(poses: Poses, side: int, to_image: Tensor, *, flipped: bool = False) -> Batch:
    geometry = Geometry(to_image[None], torch.tensor([flipped]), torch.tensor([[side, side]]))
    mask = torch.ones(1, side // 4, side // 4, dtype=torch.bool)
    return Batch(torch.zeros(1, 3, side, side), [poses], {4: mask}, geometry, [1], ["a"], [0])


def one_person() -> Poses:
    """Return a person with two of three keypoints labelled, in network-input pixels."""
    keypoints = torch.tensor([[[20.0, 24.0], [60.0, 40.0], [0.0, 0.0]]], dtype=torch.float64)
    boxes = box_corners(torch.tensor([[16.0, 20, 48, 24]], dtype=torch.float64))
    visibility = torch.tensor([[2, 1, 0]])
    return Poses(keypoints, visibility, torch.tensor([300.0], dtype=torch.float64), boxes)


def test_sizes_reach_from_the_corner_of_the_image_to_the_farthest_keypoint() -> None:
    keypoints = torch.tensor([[[3.0, 4.0], [30.0, 2.0]], [[-3.0, 1.0], [0.0, 9.0]]])
    labelled = torch.tensor([[True, True], [True, False]])
    assert person_sizes(keypoints, labelled).tolist() == [30**2 + 4**2, 3**2 + 1]


def test_people_are_found_in_image_pixels_and_cells() -> None:
    # The image is twice as large as the input, which begins at its pixel (10, 30).
    to_image = torch.tensor([[2.0, 0, 10], [0, 2, 30]], dtype=torch.float64)
    batch = batch_of(one_person(), 96, to_image)
    people = find_people(batch, 1200.0)
    assert people.centres.tolist() == [[[10.0, 8.0]]]
    assert people.has_centre.tolist() == [[True]]
    assert not find_people(batch, 1201.0).has_centre.any()
    x, y = 2 * 60 + 10, 2 * 40 + 30
    assert people.size.tolist() == [[pytest.approx((x**2 + y**2) / 4)]]
    assert image_corners(batch).tolist() == [[-1.25, -3.75]]
    mirrored = replace(batch, geometry=replace(batch.geometry, flipped=torch.tensor([True])))
    assert image_corners(mirrored).tolist() == [[-1.25 + 0.25 - 1, -3.75]]


@pytest.mark.parametrize(("area", "peak"), [(256.0, 1.0), (255.0, 0.0)])
def test_people_without_labels_have_a_false_centre_at_the_corner(area: float, peak: float) -> None:
    to_image = torch.tensor([[2.0, 0, -8], [0, 2, -16]], dtype=torch.float64)
    box = box_corners(torch.tensor([[40.0, 40, 16, 16]], dtype=torch.float64))
    poses = replace(
        Poses.empty(3), unlabelled=box, unlabelled_area=torch.tensor([area], dtype=torch.float64)
    )
    targets = batch_targets(batch_of(poses, 96, to_image), DEKRConfig())
    assert targets.heatmaps[0, 3, 2, 1] == peak
    assert targets.heatmaps[0, :3].max() == 0
    assert targets.offset_weights.max() == 0


def test_an_images_targets_do_not_depend_on_the_batch() -> None:
    batch = make_batch((3, 0, 1))
    together = batch_targets(batch, DEKRConfig(min_person_area=0.0))
    for image in range(3):
        alone = Batch(
            batch.images[image : image + 1],
            batch.poses[image : image + 1],
            {4: batch.masks[4][image : image + 1]},
            Geometry(
                batch.geometry.to_image[image : image + 1],
                batch.geometry.flipped[image : image + 1],
                batch.geometry.sizes[image : image + 1],
            ),
            [1], ["a"], [0],
        )  # fmt: skip
        own = batch_targets(alone, DEKRConfig(min_person_area=0.0))
        for name, values in vars(own).items():
            assert torch.equal(values[0], getattr(together, name)[image])
