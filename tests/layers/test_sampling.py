"""Weighted samples by hand, by `grid_sample`, and their gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.layers.sampling import Sizes, gathered_samples, weighted_samples

SIZES: Sizes = ((5, 7), (3, 4), (2, 2), (1, 1))
WAYS = [weighted_samples, gathered_samples]


def inputs(spread: float = 2.0, batch: int = 2, queries: int = 6) -> list[Tensor]:
    """Return values, references, offsets and weights of three heads, two points a level."""
    tokens = sum(height * width for height, width in SIZES)
    weights = torch.rand(batch, queries, 3, len(SIZES), 2, dtype=torch.float64)
    return [
        torch.randn(batch, tokens, 3, 5, dtype=torch.float64),
        torch.rand(batch, queries, len(SIZES), 2, dtype=torch.float64) * 1.4 - 0.2,
        spread * torch.randn(*weights.shape, 2, dtype=torch.float64),
        weights,
    ]


def by_grid_sample(values: Tensor, references: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Sample each level by PyTorch's own function, and weight and add the samples."""
    batch, _, heads, depth = values.shape
    total = torch.zeros(batch, offsets.shape[1], heads, depth, dtype=values.dtype)
    parts = values.split([height * width for height, width in SIZES], 1)
    for level, (height, width) in enumerate(SIZES):
        maps = parts[level].permute(0, 2, 3, 1).reshape(batch * heads, depth, height, width)
        size = torch.tensor([width, height])
        places = references[:, :, None, level, None] + offsets[:, :, :, level] / size
        grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)
        sampled = F.grid_sample(maps, grid, align_corners=False)  # (B heads, D, Q, P)
        sampled = sampled.view(batch, heads, depth, *grid.shape[1:3])
        total += torch.einsum("bhdqp,bqhp->bqhd", sampled, weights[:, :, :, level])
    return total.flatten(2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spread", [0.1, 2.0, 20.0])
def test_both_ways_equal_grid_sample_with_their_gradients(way: object, spread: float) -> None:
    assert callable(way)
    values, references, offsets, weights = (t.requires_grad_() for t in inputs(spread))
    leaves = (values, references, offsets, weights)
    found = way(values, SIZES, references, offsets, weights)
    expected = by_grid_sample(*leaves)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected)
    for own, plain in zip(
        torch.autograd.grad(found, leaves, weight),
        torch.autograd.grad(expected, leaves, weight),
        strict=True,
    ):
        torch.testing.assert_close(own, plain)


@pytest.mark.parametrize("way", WAYS)
def test_a_sample_at_a_cells_centre_is_the_cell_and_between_two_their_mean(way: object) -> None:
    assert callable(way)
    values = torch.arange(6.0).view(1, 6, 1, 1)
    references = torch.tensor([0.5, 0.25]).view(1, 1, 1, 2)  # of a map of 2 x 3: cell (0, 1)
    offsets = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 1.0], [2.0, 0.0]]).view(1, 1, 1, 1, 4, 2)
    for number, expected in enumerate((1.0, 1.5, 4.0, 0.0)):
        weights = F.one_hot(torch.tensor(number), 4).float().view(1, 1, 1, 1, 4)
        found = way(values, [(2, 3)], references, offsets, weights)
        assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 1e30])
def test_places_that_are_no_places_read_nothing(broken: float) -> None:
    values, references, offsets, weights = inputs()
    offsets[0, 0] = broken
    found = weighted_samples(values, SIZES, references, offsets, weights)
    assert found[0, 0].eq(0).all()
    whole = by_grid_sample(*(t[1:] for t in (values, references, offsets, weights)))
    torch.testing.assert_close(found[1:], whole)


def test_references_may_be_shared_by_images() -> None:
    values, references, offsets, weights = inputs()
    shared = references[:1]
    for way in WAYS:
        found = way(values, SIZES, shared, offsets, weights)
        expected = by_grid_sample(values, shared.expand_as(references), offsets, weights)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("way", WAYS)
def test_queries_may_have_the_batch_second_in_memory(way: Callable[..., Tensor]) -> None:
    values, *of_queries = inputs()
    turned = [own.transpose(0, 1).contiguous().transpose(0, 1) for own in of_queries]
    assert not any(own.is_contiguous() for own in turned)
    torch.testing.assert_close(way(values, SIZES, *turned), way(values, SIZES, *of_queries))


def test_it_can_be_exported() -> None:
    class Module(torch.nn.Module):
        def forward(self, values: Tensor, *places: Tensor) -> Tensor:
            return weighted_samples(values, SIZES, *places)

    arguments = tuple(t.float() for t in inputs())
    exported = torch.export.export(Module(), arguments).module()
    torch.testing.assert_close(exported(*arguments), Module()(*arguments))
