from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.errors import PosebenchError, UsageError
from posebench.skeleton import CROWDPOSE
from posebench.structures import PosePredictions, Trace
from posebench.viz import (
    gallery,
    heatmap_overlay,
    instance_figure,
    steps_figure,
    training_curve,
    write_image,
)
from posebench.viz.figures import _factors, _moving_average, heat_caption, heat_scale
from tests.builders import read_picture

# Turned, enlarged and moved: no axis or sign may be mixed up.
_TO_IMAGE = torch.tensor([[1.1, 0.3, 12.0], [-0.2, 1.4, 40.0]], dtype=torch.float64)


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def gaussian(row: int, column: int, shape: tuple[int, int] = (40, 50)) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    return torch.exp(-((x - column) ** 2 + (y - row) ** 2) / 8.0)


def brightest(image: np.ndarray) -> np.ndarray:
    """Return x, y of the middle of what is as bright as the brightest pixel, nearly."""
    brightness = image.astype(float).sum(-1)
    rows, columns = np.nonzero(brightness > brightness.max() - 2)
    return np.array([columns.mean(), rows.mean()])


@pytest.mark.parametrize("stride", [4, 8])
def test_the_peak_of_a_heatmap_lands_where_the_affine_map_says(stride: Any) -> None:
    row, column = 17, 31
    drawn = heatmap_overlay(grey(600, 600), gaussian(row, column), _TO_IMAGE, stride)
    centre = torch.tensor([stride * column + stride / 2, stride * row + stride / 2, 1.0]).double()
    assert np.abs(brightest(drawn) - (_TO_IMAGE @ centre).numpy()).max() < 1


def test_outside_the_network_input_there_is_no_heat() -> None:
    drawn = heatmap_overlay(grey(300, 300), torch.ones(10, 10), torch.eye(3)[:2], 4)
    cold = drawn[299, 299]
    assert (drawn[60:] == cold).all() and (drawn[:, 60:] == cold).all()
    assert (drawn[10, 10] != cold).any()
    assert cold.max() < 128  # dimmed


def test_heat_of_any_kind_gives_an_image() -> None:
    image = grey(50, 60)
    for value in (float("nan"), -1.0, 2.0):
        drawn = heatmap_overlay(image, torch.full((8, 8), value), torch.eye(3)[:2], 4)
        assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == 128).all()


def test_a_stack_of_heatmaps_is_refused() -> None:
    with pytest.raises(ValueError, match="one heatmap"):
        heatmap_overlay(grey(50, 60), torch.zeros(14, 8, 8), torch.eye(3)[:2], 4)


def predictions(count: int) -> PosePredictions:
    keypoints = torch.full((count, 14, 2), 40.0)
    return PosePredictions(keypoints, torch.full((count, 14), 0.9), torch.full((count,), 0.5))


@pytest.mark.parametrize(("count", "columns", "rows"), [(0, 1, 1), (2, 2, 1), (4, 3, 2), (9, 3, 2)])
def test_an_instance_figure_has_a_tile_for_each_of_at_most_six_people(
    count: int, columns: Any, rows: Any
) -> None:
    image, heatmaps = grey(160, 320), gaussian(10, 10).expand(count, 14, 40, 50)
    figure = instance_figure(
        image, heatmaps, predictions(count), CROWDPOSE, torch.eye(3)[:2], stride=4
    )
    assert figure.shape[1] == columns * (640 + 16) + 16
    assert figure.shape[0] == rows * (320 + 36 + 16) + 16


def test_heat_and_skeleton_meet_in_an_instance_figure() -> None:
    # All keypoints in one place, where the heat is; the tile is twice the image.
    image, heatmaps = grey(160, 320), gaussian(20, 30).expand(1, 14, 40, 50)
    poses = PosePredictions(
        torch.tensor([122.0, 82.0]).expand(1, 14, 2), torch.ones(1, 14), torch.ones(1)
    )
    hot = instance_figure(image, heatmaps, poses, CROWDPOSE, torch.eye(3)[:2], stride=4)
    cold = instance_figure(image, 0 * heatmaps, poses, CROWDPOSE, torch.eye(3)[:2], stride=4)
    margin = 16
    for figure in (hot, cold):
        column, row = 2 * 122 + margin, 2 * 82 + margin
        assert (figure[row, column] == hot[row, column]).all()  # the disc, not the heat
    tile = slice(0, margin + 320)  # the captions below differ too
    rows, columns = np.nonzero((hot != cold)[tile].any(-1))
    assert abs(columns.mean() - (2 * 122.5 - 0.5 + margin)) < 1
    assert abs(rows.mean() - (2 * 82.5 - 0.5 + margin)) < 1


def test_heatmaps_of_other_people_are_refused() -> None:
    with pytest.raises(ValueError, match="heatmaps of 3 people, but found 2"):
        instance_figure(
            grey(80, 80), torch.zeros(2, 14, 8, 8), predictions(3), CROWDPOSE, torch.eye(3)[:2], 4
        )


def test_a_gallery_has_equal_tiles_on_white() -> None:
    images = [grey(50, 80), grey(200, 100), grey(10, 10), grey(90, 160)]
    page = gallery(images, ["one", "two", "three", ""], columns=3, tile=(160, 90))
    assert page.shape == (2 * (90 + 22 + 4) + 4, 3 * (160 + 4) + 4, 3)
    assert (page[0] == 255).all() and (page[:, 0] == 255).all()
    assert (page[90 // 2 + 4, 160 // 2 + 4] == 128).all()
    assert (page[126:, 170:] == 255).all()  # the last row has one tile
    assert (page[94:116, 4:164] < 100).any()  # the caption


def test_the_caption_of_a_heatmap_begins_with_the_scale_of_its_colours() -> None:
    # A tile that is as hot as possible, on the right; the bar lies in the line below it.
    hot = heatmap_overlay(grey(90, 160), torch.ones(90, 160), torch.eye(3)[:2], 1)
    page = gallery([hot, hot], ["centre", "centre"], columns=2, tile=(160, 90), heated=[1])
    line = page[94:116].astype(int)
    left, right = line[:, 4:164], line[:, 168:328]
    assert np.ptp(left, axis=-1).max() <= 4  # ink on white alone
    hottest = hot[45, 80].astype(int)
    assert np.abs(right - hottest).sum(-1).min() == 0
    assert np.abs(left - hottest).sum(-1).min() > 50
    # From cold on the left to hot on the right; the least heat is darker than the grey image.
    bar = heat_scale(40, 6).astype(int)
    assert (np.diff(bar[0, 3:].sum(-1)) > 0).all() and bar[0, -1].sum() > bar[0, 0].sum() + 200
    assert (bar == bar[:1]).all()
    assert np.abs(bar[0, -1] - hottest).max() <= 1


@pytest.mark.parametrize(
    ("value", "caption"),
    [
        (0.984, "centre: highest 0.98"),
        (0.1, "centre: highest 0.10"),
        (0.04, "centre: almost empty, highest 0.04"),
        (0.0, "centre: almost empty, highest 0.00"),
    ],
)
def test_a_heatmap_says_how_high_it_is(value: float, caption: str) -> None:
    heatmap = torch.zeros(4, 5, dtype=torch.float64)
    heatmap[2, 3] = value
    assert heat_caption("centre", heatmap) == caption


def test_captions_that_every_row_has_stand_once_on_top() -> None:
    page = gallery([grey(90, 160)] * 4, ["predicted", "annotated"] * 2, 2, (160, 90))
    assert page.shape == (22 + 2 * (90 + 4) + 4, 2 * (160 + 4) + 4, 3)
    assert (page[:26, 4:164] < 100).any() and (page[:26, 168:328] < 100).any()
    assert (page[116:120] == 255).all() and (page[-4:] == 255).all()  # between and below the rows
    assert (page[26:116, 4:164] == 128).all()


def test_a_gallery_without_captions_leaves_no_room_for_them() -> None:
    assert gallery([grey(90, 160)], [""], columns=4, tile=(160, 90)).shape == (98, 168, 3)


def test_an_image_of_another_shape_is_letterboxed_whole() -> None:
    image = grey(100, 20)
    image[:, :2] = image[:, -2:] = 0
    page = gallery([image], [""], columns=1, tile=(160, 100))
    tile = page[4:104, 4:164]
    assert ((tile == 0).all(-1)[50].nonzero()[0] == [70, 71, 88, 89]).all()


def test_long_captions_stay_within_their_tile() -> None:
    page = gallery([grey(90, 160)] * 2, ["a caption without end " * 9, ""], 2, (160, 90))
    assert (page[94:116, 165:] == 255).all()


def test_a_gallery_needs_a_caption_for_each_image() -> None:
    with pytest.raises(ValueError, match="found 1 and 2"):
        gallery([grey(9, 9)], ["a", "b"], columns=1, tile=(90, 90))
    with pytest.raises(ValueError, match="at least one image"):
        gallery([], [], columns=1, tile=(90, 90))


def test_a_training_curve_has_a_panel_for_metrics_if_there_are_any() -> None:
    losses = {"heatmap": [(1.0, 5.0), (2.0, float("nan")), (3.0, 0.1)], "tag": [(1.0, 0.0)]}
    alone = training_curve(losses, {})
    both = training_curve(losses, {"AP": [(2.0, 0.4), (3.0, 0.6)]})
    assert alone.dtype == np.uint8 and alone.shape[1:] == both.shape[1:] == (1200, 3)
    assert both.shape[0] > alone.shape[0]
    assert (alone < 255).any()


def test_a_small_loss_term_is_enlarged_by_a_power_of_ten() -> None:
    curves = {name: [(1.0, size)] for name, size in (("a", 2.0), ("b", 0.1), ("c", 3e-4))}
    assert _factors({**curves, "zero": [(1.0, 0.0)], "none": []}) == {
        "a": 1, "b": 1, "c": 1000, "zero": 1, "none": 1,
    }  # fmt: skip
    assert _factors({}) == {}


def test_a_moving_average_keeps_gaps_and_ends() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0, 5.0])
    assert np.allclose(_moving_average(values, 1), [2, 2, np.nan, 5, 5], equal_nan=True)
    assert np.array_equal(_moving_average(values, 0), values, equal_nan=True)


def test_a_training_that_logged_nothing_yet_has_an_empty_plot() -> None:
    assert training_curve({}, {}).ndim == 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
def test_images_are_written_as_rgb_into_new_folders(tmp_path: Path, suffix: Any) -> None:
    image = grey(20, 30)
    image[..., 0] = 200
    path = tmp_path / "new" / f"figure{suffix}"
    write_image(path, image)
    read = read_picture(path)[..., ::-1]
    assert np.abs(read.astype(int) - image).max() <= 3
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["figure.tiff", "figure", ".png"])
def test_an_unknown_suffix_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.png, \.jpg or \.jpeg, but found"):
        write_image(tmp_path / name, grey(4, 4))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PosebenchError, match=r"file/figure\.png cannot be written"):
        write_image(tmp_path / "file" / "figure.png", grey(4, 4))


@pytest.mark.parametrize("traced", [0, 1, 3])
def test_two_tiles_for_each_person_that_was_traced(traced: Any) -> None:
    image = grey(120, 160)
    keypoints = torch.rand(3, 14, 2) * 100
    predictions = PosePredictions(keypoints, torch.ones(3, 14), torch.tensor([0.9, 0.8, 0.7]))
    steps = keypoints[:, None].expand(-1, 4, -1, -1)
    reliance = torch.zeros(traced, 60, 80)
    reliance[:, 30, 40] = 1
    double = torch.tensor([[2.0, 0, 0], [0, 2.0, 0]], dtype=torch.float64)
    figure = steps_figure(image, predictions, Trace(steps, reliance, double), CROWDPOSE)
    rows = max(traced, 1)
    columns = 2 if traced else 1
    margin, caption = 640 // 40, 2 * (640 // 34)
    assert figure.shape == (
        rows * (480 + caption + margin) + margin, columns * (640 + margin) + margin, 3
    )  # fmt: skip
    if traced:
        right = figure[margin : margin + 480, 2 * margin + 640 : -margin]
        # The pixel in the network's input that counts, where it lies on the tile.
        assert np.abs(brightest(right) - [4 * (2 * 40.5), 4 * (2 * 30.5)]).max() < 8
