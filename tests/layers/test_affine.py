"""Affine maps on hand-worked points, and their inverses."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from posebench.layers.affine import (
    Affine,
    apply,
    compose,
    detr_size,
    fit_size,
    invert,
    mirror_affine,
    network_map,
    resize_affine,
    square_affine,
)
from posebench.structures import DetrResize, FitResize, Resize, Resizing, Rounding


def moved(matrix: Affine, *points: tuple[float, float]) -> list[list[float]]:
    found: list[list[float]] = apply(
        torch.tensor(points, dtype=torch.float64), torch.from_numpy(matrix)
    ).tolist()
    return found


def close(found: list[list[float]], expected: list[tuple[float, float]]) -> bool:
    return bool(np.allclose(found, expected, rtol=0, atol=1e-9))


def test_a_square_is_mapped_onto_the_input() -> None:
    matrix = square_affine((50, 40), side=20, rotation_deg=0, size=100)
    corners = moved(matrix, (40, 30), (60, 30), (40, 50), (50, 40))
    assert close(corners, [(0, 0), (100, 0), (0, 100), (50, 50)])


@pytest.mark.parametrize(
    ("image", "authors", "mmpose"),
    [
        ((1000, 500), (128, 64), (128, 64)),  # 64 * 1000 / 500 = 128
        ((1001, 500), (128, 64), (192, 64)),  # 128.1
        ((500, 1001), (64, 128), (64, 192)),
        ((1023, 500), (192, 64), (192, 64)),  # 130.9
    ],
)
def test_mmpose_keeps_the_fraction_of_the_long_side(
    image: tuple[int, int], authors: tuple[int, int], mmpose: tuple[int, int]
) -> None:
    for rounding in get_args(Rounding):
        expected = mmpose if rounding.startswith("mmpose") else authors
        assert resize_affine(image, Resize(64, rounding=rounding))[1] == expected


@pytest.mark.parametrize(
    ("rounding", "middle", "size"),
    [
        ("authors", (213, 214), (64, 64)),  # up, from 212.5 and 213.5
        ("dekr", (213, 214), (64, 64)),
        ("mmpose0", (212, 214), (64, 128)),  # to even
        ("mmpose1", (212.5, 213.5), (64, 128)),
    ],
)
def test_code_bases_have_their_own_middle_of_odd_sides(
    rounding: Rounding, middle: tuple[float, float], size: tuple[int, int]
) -> None:
    matrix, found = resize_affine((425, 427), Resize(64, rounding=rounding))
    assert found == size
    assert close(moved(matrix, middle), [(size[0] / 2, size[1] / 2)])
    assert close((matrix[:, :2] * 425 / 64).tolist(), [(1, 0), (0, 1)])


@pytest.mark.parametrize(
    ("rounding", "sizes"),
    [
        # 96 becomes 128, which is doubled; 192 is a multiple already.
        ("authors", {0.5: (128, 128), 1.0: (256, 256), 2.0: (512, 512)}),
        ("dekr", {0.5: (96, 96), 1.0: (192, 192), 2.0: (384, 384)}),
    ],
)
def test_sizes_derive_from_the_smallest_scale_or_from_scale_1(
    rounding: Rounding, sizes: dict[float, tuple[int, int]]
) -> None:
    resize = Resize(192, rounding=rounding)
    found = {s: resize_affine((80, 80), resize, scale=s, smallest=0.5)[1] for s in sizes}
    assert found == sizes


def test_an_unknown_rounding_is_refused() -> None:
    with pytest.raises(ValueError, match="authors, dekr, mmpose0, mmpose1, not 'mmpose2'"):
        Resize(64, rounding="mmpose2")  # type: ignore[arg-type]


def test_a_positive_angle_turns_anticlockwise_on_the_screen() -> None:
    matrix = square_affine((50, 50), side=100, rotation_deg=90, size=100)
    # What was right of the centre is above it, what was below is right of it.
    assert close(moved(matrix, (60, 50), (50, 60)), [(50, 40), (60, 50)])


@pytest.mark.parametrize("rotation_deg", [-30.0, 0.0, 17.0])
def test_a_square_map_scales_both_directions_alike(rotation_deg: float) -> None:
    linear = square_affine((13, 7), 40, rotation_deg, 100)[:, :2]
    np.testing.assert_allclose(linear @ linear.T, np.eye(2) * 2.5**2, atol=1e-12)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ((64, 64), (64, 64)),
        ((128, 64), (128, 64)),
        ((64, 128), (64, 128)),
        ((640, 480), (128, 64)),  # 64 * 640 / 480 = 85.3
        ((480, 640), (64, 128)),
        ((641, 640), (64, 64)),  # 64.1 loses its fraction
        ((65 * 64, 64 * 64), (128, 64)),  # 65 does not
    ],
)
def test_the_network_size_is_a_multiple(image: tuple[int, int], size: tuple[int, int]) -> None:
    assert resize_affine(image, Resize(64))[1] == size


def test_a_short_side_is_rounded_up() -> None:
    assert resize_affine((100, 100), Resize(65))[1] == (128, 128)
    assert resize_affine((100, 100), Resize(65, multiple=1))[1] == (65, 65)


def test_the_border_is_shared_by_both_sides() -> None:
    matrix, size = resize_affine((640, 480), Resize(96, multiple=96))
    assert size == (192, 96)
    # 640 pixels become 128 of the 192.
    assert close(moved(matrix, (0, 0), (640, 480)), [(32, 0), (160, 96)])


def test_odd_sizes_are_centred_on_a_whole_pixel() -> None:
    matrix, size = resize_affine((101, 101), Resize(64))
    assert close(moved(matrix, (51, 51)), [(size[0] / 2, size[1] / 2)])


def test_the_mirror_takes_the_first_column_to_the_last() -> None:
    matrix = mirror_affine(64)
    assert close(moved(matrix, (0, 5), (63, 5), (31.5, 0)), [(63, 5), (0, 5), (31.5, 0)])


def test_composition_applies_the_inner_map_first() -> None:
    double = square_affine((0, 0), 1, 0, 2)
    outer, inner = mirror_affine(10), double
    (step,) = moved(inner, (1.5, 2.5))
    (expected,) = moved(outer, (step[0], step[1]))
    assert close(moved(compose(outer, inner), (1.5, 2.5)), [(expected[0], expected[1])])
    assert not np.allclose(compose(outer, inner), compose(inner, outer))


@pytest.mark.parametrize("seed", range(3))
def test_the_inverse_takes_points_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = square_affine((rng.uniform(0, 99), 40), rng.uniform(50, 150), rng.uniform(-90, 90), 64)
    points = [(float(x), float(y)) for x, y in rng.uniform(-100, 100, (5, 2))]
    there = [(x, y) for x, y in moved(matrix, *points)]
    assert close(moved(invert(matrix), *there), points)
    np.testing.assert_allclose(compose(invert(matrix), matrix), np.eye(2, 3), atol=1e-9)


def test_points_of_any_leading_shape_are_mapped() -> None:
    matrix = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, -1.0]])
    found = apply(torch.ones(4, 5, 2), matrix)
    assert found.shape == (4, 5, 2)
    assert found[3, 4].tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    ("image", "longest", "size"),
    [
        ((640, 480), 1333, (1066, 800)),  # 1066.7 loses its fraction
        ((480, 640), 1333, (800, 1066)),
        ((640, 200), 1333, (1334, 417)),  # 416.6 is rounded, and the other side follows it
        ((640, 200), None, (2560, 800)),
        ((1, 20), 10, (1, 20)),  # no side vanishes
    ],
)
def test_detr_bounds_the_long_side(
    image: tuple[int, int], longest: int | None, size: tuple[int, int]
) -> None:
    assert detr_size(image, 800, longest) == size


@pytest.mark.parametrize(
    ("image", "size"),
    [((640, 480), (683, 512)), ((480, 640), (512, 683)), ((1000, 300), (800, 240))],
)
def test_both_bounds_are_kept(image: tuple[int, int], size: tuple[int, int]) -> None:
    assert fit_size(image, 512, 800) == size


@pytest.mark.parametrize("resize", [DetrResize(64, 100), FitResize(64, 100)])
def test_a_resized_image_fills_its_size(resize: Resizing) -> None:
    for scale, height in ((1.0, 64), (0.5, 32)):
        matrix, size = network_map((160, 120), resize, scale, 0.5)
        assert size[1] == height
        assert close(moved(matrix, (0, 0), (160, 120)), [(0, 0), size])
