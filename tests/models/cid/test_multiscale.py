"""Maps of one scale resampled at the cells of another."""

from __future__ import annotations

import torch

from posebench.models.cid.model import CID
from posebench.models.cid.multiscale import Grid
from posebench.models.cid.profile import ideal_outputs
from posebench.models.cid.recipes import CIDConfig
from posebench.preprocess import scaled_batches
from posebench.skeleton import COCO
from posebench.structures import Inference, Resize
from tests.builders import make_sample


def to_image(scale: float, x: float, y: float) -> torch.Tensor:
    return torch.tensor([[[scale, 0.0, x], [0.0, scale, y]]], dtype=torch.float64)


def image_x(grid: Grid) -> torch.Tensor:
    """Return a map (1, 1, H, W) of the image's x at each cell's centre."""
    cells = torch.arange(grid.size[1], dtype=torch.float64)
    x = (cells + 0.5) * grid.stride * grid.to_image[0, 0, 0] + grid.to_image[0, 0, 2]
    return x.expand(1, 1, *grid.size)


COARSE = Grid(to_image(2.0, -8.0, 4.0), (20, 24), 4)
FINE = Grid(to_image(0.5, 3.0, -2.0), (48, 64), 4)


def test_maps_are_resampled_at_the_same_image_pixels() -> None:
    resampled = FINE.resample(image_x(COARSE), COARSE)
    assert resampled.shape == (1, 1, *FINE.size)
    inner = slice(8, -8)  # outside the coarse map all values are zero
    torch.testing.assert_close(resampled[..., inner, inner], image_x(FINE)[..., inner, inner])


def test_a_map_is_resampled_for_its_own_image() -> None:
    both = Grid(torch.cat([FINE.to_image, COARSE.to_image]), FINE.size, 4)
    maps = image_x(FINE).expand(3, 2, *FINE.size)
    source = Grid(torch.cat([FINE.to_image, FINE.to_image]), FINE.size, 4)
    resampled = both.resample(maps, source, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(resampled[0], resampled[2])
    torch.testing.assert_close(resampled[0, 0], maps[0, 0])
    assert not torch.allclose(resampled[1], resampled[0])


def test_nearest_cells_lie_inside_the_grid() -> None:
    fine = torch.tensor([[0, 20, 30], [0, 47, 63]])
    coarse = COARSE.nearest_cells(fine, FINE)
    # Cell 30's centre is x = 122 of the network, 64 of the image, 36 of the coarse network.
    assert coarse[0].tolist() == [0, round((20.5 * 2 - 6) / 8 - 0.5), round(36 / 4 - 0.5)]
    assert FINE.nearest_cells(torch.tensor([[0, 0, 0]]), COARSE).min() >= 0
    assert COARSE.nearest_cells(fine, COARSE) is fine


def test_a_person_lies_on_the_same_image_pixels_at_every_scale() -> None:
    model = CID(CIDConfig(backbone="hrnet_tiny", embedding=8, min_person_area=0.0), COCO)
    inference = Inference(Resize(256), scales=(1.0, 0.5, 1.5))
    [(_, batches)] = scaled_batches([make_sample(1, size=256)], inference)
    first, *others = (
        Grid(b.geometry.to_image, (b.images.shape[2] // 4, b.images.shape[3] // 4), 4)
        for b in batches
    )
    ideal, *scaled = (ideal_outputs(model, batch) for batch in batches)
    for grid, outputs in zip(others, scaled, strict=True):
        centre, expected = outputs.people, grid.nearest_cells(ideal.people, first)
        assert (centre - expected).abs().max() <= 1
        peaks = first.resample(outputs.heatmaps, grid).flatten(2).argmax(2)
        expected_peaks = ideal.heatmaps.flatten(2).argmax(2)
        width = first.size[1]
        # One cell at half the scale is two cells here.
        assert (peaks % width - expected_peaks % width).abs().max() <= 2
        assert (peaks // width - expected_peaks // width).abs().max() <= 2
