"""Weighted sums of bilinear samples of a pyramid: where deformable attention spends its time.

Three implementations give the same numbers. On a CPU the loops are compiled (`sampling_numba`): a
query's samples are read and added one after the other, and nothing is stored between. Elsewhere,
and where a graph is recorded, the sum is a gather by PyTorch's operations (`gathered_samples`).
Sampling each level with `grid_sample`, as published (`grid_samples`), stores every sample of every
level before they are weighted and added; networks are exported in this form.

Shapes: B images, Q queries, S tokens, H heads, D channels of a head, L levels, P points of a level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from posebench.layers.portable import constant, portable, sizes_tensor

# Height and width of each level's map.
Sizes = Sequence[tuple[int, int]]

_compiled_loops = ContextVar("compiled loops", default=True)


@contextmanager
def torch_operations_only() -> Iterator[None]:
    """Compute everything with PyTorch's own operations, so that they can be counted."""
    token = _compiled_loops.set(False)
    try:
        yield
    finally:
        _compiled_loops.reset(token)


def compiled_loops_allowed() -> bool:
    """Return whether compiled loops may be used: not within `torch_operations_only`."""
    return _compiled_loops.get()


def weighted_samples(
    values: Tensor, sizes: Sizes, references: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Return each query's weighted sum of bilinear samples; values beyond a map's border are zero.

    Args:
        values: (B, S, H, D), float32 or float64.
        sizes: of the levels.
        references: (B or 1, Q, L, 2) x, y in [0, 1] of a level's map; 0 is its first cell's corner.
        offsets: (B, Q, H, L, P, 2) in cells.
        weights: (B, Q, H, L, P).

    Returns:
        (B, Q, H x D).

    Source: Deformable DETR (arXiv:2010.04159), Eq. 3.
    """
    if portable():
        return grid_samples(values, sizes, references, offsets, weights)
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    recorded = traced or torch.compiler.is_compiling()
    if values.device.type != "cpu" or recorded or not _compiled_loops.get():
        return gathered_samples(values, sizes, references, offsets, weights)
    references = references.expand(len(values), -1, -1, -1)
    # The compiled loops take positions in cells alone: the gradients of the references are those of
    # the offsets in other units, which autograd finds from here.
    cells = torch.tensor([(width, height) for height, width in sizes], dtype=offsets.dtype)
    centres = references * cells - 0.5
    samples: Tensor = _CompiledSamples.apply(values, _levels(sizes), centres, offsets, weights)
    return samples


def gathered_samples(
    values: Tensor, sizes: Sizes, references: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Return what `weighted_samples` does, by PyTorch's own operations.

    Each sample is a weighted sum of four tokens, so all samples of a query are a weighted sum of
    4 L P rows of a table: `embedding_bag` reads and adds them without storing them.
    """
    index, share = _corners(values, sizes, references, offsets, weights)
    batch, tokens, heads, depth = values.shape
    table = values.transpose(1, 2).reshape(batch * heads * tokens, depth)
    bags = batch * index.shape[1] * heads
    sums = F.embedding_bag(
        index.reshape(bags, -1),  # queries may come with the batch second in memory
        table,
        mode="sum",
        per_sample_weights=share.reshape(bags, -1).to(table.dtype),
    )
    return sums.view(batch, -1, heads * depth)


def grid_samples(
    values: Tensor, sizes: Sizes, references: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Return what `weighted_samples` does, level by level with `grid_sample`, as published.

    Runtimes have a fast operator for it; `embedding_bag` becomes a loop there.
    """
    batch, _, heads, depth = values.shape
    queries = offsets.shape[1]
    areas = [height * width for height, width in sizes]
    cells = sizes_tensor(sizes, values.device)[:, None]  # (L, 1, 2)
    # 0 and 1 are the outer edges of a map's cells; grid_sample has -1 and 1 there.
    grids = 2 * (references[:, :, None, :, None] + offsets / cells) - 1  # (B, Q, H, L, P, 2)
    grids = grids.transpose(1, 2).flatten(0, 1)
    maps = values.permute(0, 2, 3, 1).flatten(0, 1)  # (B H, D, S)
    samples = [
        F.grid_sample(part.reshape(*part.shape[:2], *size), grids[:, :, level], align_corners=False)
        for level, (part, size) in enumerate(zip(torch.split(maps, areas, 2), sizes, strict=True))
    ]
    shares = weights.transpose(1, 2).flatten(0, 1).flatten(2)[:, None]  # (B H, 1, Q, L P)
    sums = (torch.cat(samples, -1) * shares).sum(-1)  # (B H, D, Q)
    return sums.view(batch, heads * depth, queries).transpose(1, 2)


def _corners(
    values: Tensor, sizes: Sizes, references: Tensor, offsets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the table rows of the four cells around each sample, and their weights.

    Both are (B, Q, H, L, P, 4), from north-west to south-east.
    """
    batch, tokens, heads, _ = values.shape
    device = values.device
    positions = (references * sizes_tensor(sizes, device) - 0.5)[:, :, None, :, None] + offsets
    first = positions.detach().floor()
    fraction = positions - first
    # The two nearest columns and rows, and their shares: (B, Q, H, L, P, 2, 2), x and y last.
    nearest = first[..., None, :] + constant(((0,), (1,)), device)
    shares = torch.stack([1 - fraction, fraction], -2)
    # A neighbour beyond the border counts as zero: its cell is clamped, and its share is 0.
    last = constant(tuple(((width - 1, height - 1),) for height, width in sizes), device)
    clamped = nearest.clamp(min=0).minimum(last[:, None])
    x_share, y_share = (shares * (clamped == nearest)).unbind(-1)
    x, y = clamped.int().unbind(-1)
    # int32 reads half as much as int64.
    starts = [0, *accumulate(height * width for height, width in sizes)][:-1]
    start, widths = constant(
        (tuple(starts), tuple(width for _, width in sizes)), device, torch.int32
    )
    maps = torch.arange(0, batch * heads * tokens, tokens, dtype=torch.int32, device=device)
    rows = y * widths[:, None, None]
    rows = rows + (maps.view(batch, 1, heads, 1) + start)[..., None, None]
    index = rows[..., :, None] + x[..., None, :]
    share = (weights[..., None] * y_share)[..., :, None] * x_share[..., None, :]
    return index.flatten(-2), share.flatten(-2)


def _levels(sizes: Sizes) -> NDArray[np.int64]:
    """Return height, width and first token of each level (L, 3)."""
    starts = [0, *accumulate(height * width for height, width in sizes)]
    return np.array([(*size, start) for size, start in zip(sizes, starts, strict=False)])


class _CompiledSamples(torch.autograd.Function):
    """The compiled loops as one operation of autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        levels: NDArray[np.int64],
        centres: Tensor,
        offsets: Tensor,
        weights: Tensor,
    ) -> Tensor:
        # Importing numba takes long, so only a network that samples on a CPU pays for it.
        from posebench.layers import sampling_numba

        ctx.save_for_backward(values, centres, offsets, weights)
        ctx.levels = levels
        return sampling_numba.forward(values, levels, centres, offsets, weights).flatten(2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from posebench.layers import sampling_numba

        values, centres, offsets, weights = ctx.saved_tensors
        by_values, by_offsets, by_weights = sampling_numba.backward(
            values, ctx.levels, centres, offsets, weights, gradient.view(*offsets.shape[:3], -1)
        )
        by_centres = by_offsets.sum((2, 4)) if ctx.needs_input_grad[2] else None
        return by_values, None, by_centres, by_offsets, by_weights
