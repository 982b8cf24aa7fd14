"""That maps of several scales are read at one another's places."""

from __future__ import annotations

import torch

from posebench.models.cid.multiscale import Grid


def to_image(scale: float, x: float, y: float) -> torch.Tensor:
    return torch.tensor([[[scale, 0.0, x], [0.0, scale, y]]], dtype=torch.float64)


def image_x(grid: Grid) -> torch.Tensor:
    """Return a map (1, 1, H, W) of the image's x at each cell's centre."""
    cells = torch.arange(grid.size[1], dtype=torch.float64)
    x = (cells + 0.5) * grid.stride * grid.to_image[0, 0, 0] + grid.to_image[0, 0, 2]
    return x.expand(1, 1, *grid.size)


COARSE = Grid(to_image(2.0, -8.0, 4.0), (20, 24), 4)
FINE = Grid(to_image(0.5, 3.0, -2.0), (48, 64), 4)


def test_what_another_grid_holds_is_read_at_the_own_places() -> None:
    read = FINE.read(image_x(COARSE), COARSE)
    assert read.shape == (1, 1, *FINE.size)
    inner = slice(8, -8)  # beyond the coarse map there is nothing
    torch.testing.assert_close(read[..., inner, inner], image_x(FINE)[..., inner, inner])


def test_a_map_is_read_for_its_own_image() -> None:
    both = Grid(torch.cat([FINE.to_image, COARSE.to_image]), FINE.size, 4)
    maps = image_x(FINE).expand(3, 2, *FINE.size)
    source = Grid(torch.cat([FINE.to_image, FINE.to_image]), FINE.size, 4)
    read = both.read(maps, source, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(read[0], read[2])
    torch.testing.assert_close(read[0, 0], maps[0, 0])
    assert not torch.allclose(read[1], read[0])


def test_cells_of_another_grid_lie_nearest_and_inside() -> None:
    fine = torch.tensor([[0, 20, 30], [0, 47, 63]])
    coarse = COARSE.cells_of(fine, FINE)
    # Cell 30's centre is x = 122 of the network, 64 of the image, 36 of the coarse network.
    assert coarse[0].tolist() == [0, round((20.5 * 2 - 6) / 8 - 0.5), round(36 / 4 - 0.5)]
    assert FINE.cells_of(torch.tensor([[0, 0, 0]]), COARSE).min() >= 0
    assert COARSE.cells_of(fine, COARSE) is fine
