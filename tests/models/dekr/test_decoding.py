"""DEKR's decoding of hand-made maps; the published numbers are in tests/parity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.models.dekr import decoding
from posebench.models.dekr.decoding import (
    Candidates,
    DEKROutputs,
    comparable_scores,
    decode_people,
    enlarged_heatmaps,
    find_candidates,
    heat_at,
    merge_mirrored,
    select_people,
)
from posebench.models.dekr.recipes import DEKRConfig
from posebench.structures import Geometry

K = 3
CONFIG = DEKRConfig(nms_keypoints=1)


def geometry(images: int = 1) -> Geometry:
    """Return images that are half as large as the network input and begin at (10, 20)."""
    to_image = torch.tensor([[0.5, 0, 10], [0, 0.5, 20]], dtype=torch.float64)
    return Geometry(
        to_image.expand(images, 2, 3),
        torch.zeros(images, dtype=torch.bool),
        torch.tensor([[64, 64]]).expand(images, 2),
    )


def blank(side: int = 16, images: int = 1) -> DEKROutputs:
    return DEKROutputs(
        torch.zeros(images, K + 1, side, side), torch.zeros(images, 2 * K, side, side)
    )


def put(
    outputs: DEKROutputs, cell: tuple[int, int], score: float, heat: float, image: int = 0
) -> None:
    """Put a person at a cell x, y: keypoints there, 2 cells to the right and 3 cells below."""
    x, y = cell
    outputs.heatmaps[image, K, y, x] = score
    outputs.offsets[image, :, y, x] = torch.tensor([0, 0, -2, 0, 0, -3.0])
    for k, (dx, dy) in enumerate([(0, 0), (2, 0), (0, 3)]):
        outputs.heatmaps[image, k, y + dy, x + dx] = heat


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_a_pose_is_its_cell_minus_the_offsets() -> None:
    outputs = blank()
    put(outputs, (5, 7), 0.5, 0.8)
    [people] = decode_people(outputs, geometry(), CONFIG)
    # Cells lie at pixels 4 x, without half a cell.
    pixels = 4 * torch.tensor([[5.0, 7.0], [7.0, 7.0], [5.0, 10.0]])
    torch.testing.assert_close(people.keypoints[0], pixels / 2 + torch.tensor([10.0, 20.0]))
    torch.testing.assert_close(people.keypoint_scores, torch.full((1, K), 0.4))
    torch.testing.assert_close(people.scores, torch.tensor([0.4]))


def test_people_are_best_first_image_by_image() -> None:
    outputs = blank(images=3)
    put(outputs, (2, 2), 0.5, 0.2)
    put(outputs, (9, 9), 0.3, 0.9)
    put(outputs, (4, 4), 0.3, 0.9, image=2)
    counts = [len(people) for people in decode_people(outputs, geometry(3), CONFIG)]
    assert counts == [2, 0, 1]
    [first, _, _] = decode_people(outputs, geometry(3), CONFIG)
    torch.testing.assert_close(first.scores, torch.tensor([0.27, 0.1]))


def test_skeletons_of_few_keypoints_are_suppressed_by_half_of_them() -> None:
    """Half of 3 keypoints is 1, while no two poses share the 8 that COCO's recipes ask for."""
    outputs = blank()
    put(outputs, (4, 4), 0.5, 0.2)
    outputs.heatmaps[0, K, 12, 12] = 0.4
    outputs.offsets[0, :, 12, 12] = torch.tensor([8, 8, 6, 8, 8, 4.0])  # another of its joints
    [people] = decode_people(outputs, geometry(), replace(CONFIG, nms_keypoints=8))
    assert len(people) == 1


def test_maps_without_centres_have_no_people() -> None:
    for config in (CONFIG, replace(CONFIG, match_peaks=True)):
        [people] = decode_people(blank(), geometry(), config)
        assert people.keypoints.shape == (0, K, 2)
        assert people.keypoint_scores.shape == (0, K)
        assert people.scores.shape == (0,)


@pytest.mark.parametrize("whole_maps", [False, True])
def test_one_copy_leaves_the_device(whole_maps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = blank(images=2)
    put(outputs, (5, 7), 0.5, 0.8)
    copied = []

    def to_host(tensors: list[Tensor]) -> list[Tensor]:
        copied.append([own.shape for own in tensors])
        return tensors

    monkeypatch.setattr(decoding, "to_host", to_host)
    found, maps = find_candidates(replace(outputs, others=(blank(32, 2),)), whole_maps=whole_maps)
    assert [len(own.cells) for own in found] == [1, 0]
    assert (maps is not None) == whole_maps
    enlarged = (2, K, *(4 * side for side in outputs.heatmaps.shape[-2:]))
    assert copied == [[(2, 2 * 30, 3 + 3 * K), *([enlarged] if whole_maps else [])]]


def test_single_values_are_those_of_the_enlarged_maps() -> None:
    first, other = (
        DEKROutputs(noise(1, K + 1, side, side), torch.zeros(1, 2 * K, side, side))
        for side in (8, 6)
    )
    outputs = replace(first, others=(other,))
    whole = enlarged_heatmaps(outputs)
    assert whole.shape == (1, K, 32, 32)
    poses = 20 * noise(1, 50, K, 2) + 16  # some outside
    heat = heat_at(outputs, poses)
    x, y = poses.floor().clamp(0, 31).long().unbind(-1)
    expected = torch.stack([whole[:, k, y[..., k], x[..., k]][0] for k in range(K)], -1)
    torch.testing.assert_close(heat, expected)


def test_enlarged_maps_have_cells_at_every_fourth_pixel() -> None:
    outputs = DEKROutputs(noise(1, K + 1, 5, 6), torch.zeros(1, 2 * K, 5, 6))
    whole = enlarged_heatmaps(outputs)
    torch.testing.assert_close(whole[:, :, ::4, ::4], outputs.heatmaps[:, :K])
    torch.testing.assert_close(
        whole[..., 0, 1],
        0.75 * outputs.heatmaps[:, :K, 0, 0] + 0.25 * outputs.heatmaps[:, :K, 0, 1],
    )
    for pixel in (-3, -2, -1):
        torch.testing.assert_close(whole[..., pixel], whole[..., -4])
        torch.testing.assert_close(whole[..., pixel, :], whole[..., -4, :])


def test_scales_are_read_at_their_own_size_largest_first() -> None:
    outputs, double = blank(), blank(32)
    put(outputs, (5, 7), 0.5, 0.8)
    put(double, (20, 12), 0.25, 0.8)
    [found], _ = find_candidates(replace(outputs, others=(double,)))
    assert found.scale.tolist() == [2, 1]
    assert found.poses[0].tolist() == [[40, 24], [44, 24], [40, 30]]
    # The mean of both scales' maps; the other scale has nothing there.
    np.testing.assert_allclose(found.heat[:, 0], [0.4, 0.4])
    np.testing.assert_allclose(comparable_scores(found, 0.9), [0.45, 0.5])


def candidates(scale: list[float], scores: list[float], count: int = 0) -> Candidates:
    count = count or len(scale)
    generator = np.random.default_rng(0)
    return Candidates(
        cells=np.zeros((count, 2), np.int64),
        scale=np.array(scale or [1.0] * count),
        centre_scores=np.array(scores or [0.5] * count),
        poses=1000 * generator.uniform(size=(count, K, 2)),
        heat=generator.uniform(size=(count, K)),
    )


@pytest.mark.parametrize(
    ("scale", "scores", "expected"),
    [
        ([2, 2, 1, 0.5], [0.2, 0.1, 0.6, 0.3], [0.48, 0.24, 0.6, 0.48]),
        ([2, 0.5, 0.5], [0.2, 0.3, 0.1], [0.8, 0.8, 0.8 / 3]),  # nothing at scale 1: as if 1
        ([1, 1], [0.6, 0.3], [0.6, 0.3]),
    ],
)
def test_scores_of_other_scales_are_brought_to_the_first_ones(
    scale: list[float], scores: list[float], expected: list[float]
) -> None:
    found = comparable_scores(candidates(scale, scores), 0.8)
    np.testing.assert_allclose(found, expected)


def test_of_more_than_thirty_people_those_with_the_highest_heat_stay() -> None:
    for count, expected in ((30, 30), (45, 30)):
        many = candidates([], [], count)
        poses, scores = select_people(many, CONFIG)
        assert len(poses) == len(scores) == expected
        order = np.argsort(-many.heat_scores)[:30] if count > 30 else np.arange(count)
        np.testing.assert_array_equal(poses, many.poses[order])
        np.testing.assert_allclose(scores, 0.5 * many.heat[order])


def test_a_mirrored_image_gives_the_same_pose() -> None:
    outputs = blank()
    put(outputs, (5, 7), 0.5, 0.8)
    order = [1, 0, 2]
    offsets = outputs.offsets.flip(-1).view(1, K, 2, 16, 16)[:, order].clone()
    offsets[:, :, 0] *= -1
    mirrored = DEKROutputs(outputs.heatmaps.flip(-1)[:, [*order, K]], offsets.flatten(1, 2))
    merged = merge_mirrored(outputs, mirrored, order)
    torch.testing.assert_close(merged.heatmaps, outputs.heatmaps)
    torch.testing.assert_close(merged.offsets, outputs.offsets)


@pytest.mark.parametrize("match", [False, True])
def test_people_are_decoded_in_float32_where_the_network_computes_in_bfloat16(match: bool) -> None:
    config = replace(CONFIG, match_peaks=match)
    outputs = blank()
    put(outputs, (5, 7), 0.5, 0.75)
    halves = DEKROutputs(outputs.heatmaps.bfloat16(), outputs.offsets.bfloat16())
    [expected] = decode_people(outputs, geometry(), config)
    with torch.autocast("cpu", torch.bfloat16):
        [found] = decode_people(halves, geometry(), config)
    torch.testing.assert_close(found.keypoints, expected.keypoints)
    torch.testing.assert_close(found.scores, expected.scores)
