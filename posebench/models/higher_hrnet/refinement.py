"""Refinement of grouped people: quarter-pixel steps, and the search for missing keypoints.

A missing keypoint is the pixel of its heatmap with the highest value after the rounded distance
between the pixel's tags and the person's mean tags is subtracted. The published code computes this
for all pixels of all people. Here each block of pixels has bounds, from its highest pixel and the
range of its tags, and only blocks that can hold the best pixel are searched. The loops are
compiled.

Shapes: K keypoints, H x W pixels of the maps, T tags per pixel, P people, Q missing keypoints,
M maps with missing keypoints, S blocks of a map.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from posebench.layers.numba_threads import match_torch_threads

BLOCK = 4  # pixels, side of a block
LEVELS = 1024  # of height, by which blocks are ranked
CHUNK = 256  # blocks per step of the search, which may end after each step

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Ints32 = NDArray[np.int32]


def adjust(people: Floats32, heatmaps: Floats32) -> Floats32:
    """Move keypoints a quarter pixel towards the higher neighbours, and by half to pixels' centres.

    Args:
        people: (P, K, 3 + T) x, y, score, tags; missing keypoints stay as they are.
        heatmaps: (K, H, W).
    """
    moved = people.copy()
    person, k = np.nonzero(people[..., 2] > 0)
    x, y = people[person, k, 0].astype(int), people[person, k, 1].astype(int)
    dx, dy = _quarter_steps(heatmaps, k, x, y)
    moved[person, k, 0] = people[person, k, 0] + dx + 0.5
    moved[person, k, 1] = people[person, k, 1] + dy + 0.5
    return moved


def refine(people: Floats32, means: Floats32, heatmaps: Floats32, tags: Floats32) -> Floats32:
    """Return the people with their missing keypoints filled in.

    Args:
        people: (P, K, 3 + T).
        means: (P, T) of their tags.
        heatmaps: (K, H, W).
        tags: (K, T, H, W).
    """
    refined = people.copy()
    # One heatmap after the other, so that its bounds stay in the cache.
    k, person = np.nonzero(people[..., 2].T == 0)
    if not len(person):
        return refined
    maps, row = np.unique(k, return_inverse=True)
    match_torch_threads()
    ranked = _rank_blocks(*_block_bounds(maps, heatmaps, tags))
    best = _search(person, row, maps, means.astype(np.float32), heatmaps, tags, *ranked)
    y, x = best // heatmaps.shape[2], best % heatmaps.shape[2]
    scores = heatmaps[k, y, x]
    dx, dy = _quarter_steps(heatmaps, k, x, y)
    keep = scores > 0
    person, k = person[keep], k[keep]
    refined[person, k, 0] = (x + 0.5 + dx)[keep]
    refined[person, k, 1] = (y + 0.5 + dy)[keep]
    refined[person, k, 2] = scores[keep]
    return refined


def _quarter_steps(heatmaps: Floats32, k: Ints, x: Ints, y: Ints) -> tuple[Floats, Floats]:
    """Return the steps x and y (Q,) towards the higher neighbour, for pixels of maps k."""
    height, width = heatmaps.shape[1:]
    right = heatmaps[k, y, np.minimum(x + 1, width - 1)]
    left = heatmaps[k, y, np.maximum(x - 1, 0)]
    below = heatmaps[k, np.minimum(y + 1, height - 1), x]
    above = heatmaps[k, np.maximum(y - 1, 0), x]
    # Left and up on ties, as published.
    return np.where(right > left, 0.25, -0.25), np.where(below > above, 0.25, -0.25)


@numba.njit(cache=True, parallel=True)
def _block_bounds(
    maps: Ints, heatmaps: Floats32, tags: Floats32
) -> tuple[Floats32, Floats32, Floats32]:
    """Return the bounds of the blocks of some maps.

    Args:
        maps: (M,) indices of heatmaps.
        heatmaps: (K, H, W).
        tags: (K, T, H, W).

    Returns:
        Each block's highest pixel (M, S), and its lowest and highest tags (M, T, S).
    """
    height, width = heatmaps.shape[1:]
    count, size = len(maps), tags.shape[1]
    across = (width + BLOCK - 1) // BLOCK
    blocks = (height + BLOCK - 1) // BLOCK * across
    top = np.full((count, blocks), -np.inf, np.float32)
    low = np.full((count, size, blocks), np.inf, np.float32)
    high = np.full((count, size, blocks), -np.inf, np.float32)
    for m in numba.prange(count):
        k = maps[m]
        for y in range(height):
            for j in range(across):
                block = y // BLOCK * across + j
                begin, end = j * BLOCK, min((j + 1) * BLOCK, width)
                highest = heatmaps[k, y, begin]
                for x in range(begin + 1, end):
                    value = heatmaps[k, y, x]
                    highest = value if value > highest else highest
                top[m, block] = max(top[m, block], highest)
                for t in range(size):
                    least = most = tags[k, t, y, begin]
                    for x in range(begin + 1, end):
                        value = tags[k, t, y, x]
                        least = value if value < least else least
                        most = value if value > most else most
                    low[m, t, block] = min(low[m, t, block], least)
                    high[m, t, block] = max(high[m, t, block], most)
    return top, low, high


@numba.njit(cache=True, parallel=True)
def _rank_blocks(
    top: Floats32, low: Floats32, high: Floats32
) -> tuple[Ints32, Floats32, Floats32, Floats32, Floats32]:
    """Rank each map's blocks by height, in levels.

    Args:
        top: (M, S), as `_block_bounds` returns it.
        low: (M, T, S).
        high: (M, T, S).

    Returns:
        The blocks' numbers (M, S), and their top, low and high in that order; the highest pixel of
        each chunk of blocks and all chunks after it (M, S / CHUNK, rounded up).
    """
    count, blocks = top.shape
    order = np.empty((count, blocks), np.int32)
    tops, lows, highs = np.empty_like(top), np.empty_like(low), np.empty_like(high)
    chunks = (blocks + CHUNK - 1) // CHUNK
    ceilings = np.full((count, chunks), -np.inf, np.float32)
    for k in numba.prange(count):
        highest = top[k].max()
        scale = np.float32(LEVELS - 1) / max(highest - top[k].min(), np.float32(1e-12))
        level = np.empty(blocks, np.int32)
        begin = np.zeros(LEVELS + 1, np.int32)
        for block in range(blocks):
            below = (highest - top[k, block]) * scale
            # Levels of a map that is not finite may be out of range; level 0 is in range.
            level[block] = np.int32(below) if 0 <= below < LEVELS else 0
            begin[level[block] + 1] += 1
        begin = np.cumsum(begin)
        for block in range(blocks):
            rank = begin[level[block]]
            begin[level[block]] += 1
            order[k, rank] = block
            tops[k, rank] = top[k, block]
            lows[k, :, rank] = low[k, :, block]
            highs[k, :, rank] = high[k, :, block]
        ceiling = np.float32(-np.inf)
        for chunk in range(chunks - 1, -1, -1):
            ceiling = max(ceiling, tops[k, chunk * CHUNK : (chunk + 1) * CHUNK].max())
            ceilings[k, chunk] = ceiling
    return order, tops, lows, highs, ceilings


@numba.njit(cache=True, parallel=True)
def _search(
    person: Ints,
    row: Ints,
    maps: Ints,
    means: Floats32,
    heatmaps: Floats32,
    tags: Floats32,
    order: Ints32,
    top: Floats32,
    low: Floats32,
    high: Floats32,
    ceilings: Floats32,
) -> Ints:
    """Return the flat index (Q,) of each missing keypoint's best pixel.

    Args:
        person: (Q,) each missing keypoint's person.
        row: (Q,) its row of `maps`.
        maps: (M,) indices of heatmaps.
        means: (P, T) tags.
        heatmaps: (K, H, W).
        tags: (K, T, H, W).
        order: (M, S), as `_rank_blocks` returns it.
        top: (M, S).
        low: (M, T, S).
        high: (M, T, S).
        ceilings: (M, number of chunks).
    """
    across = (heatmaps.shape[2] + BLOCK - 1) // BLOCK
    blocks = top.shape[1]
    pixels = np.zeros(len(person), np.int64)
    for n in numba.prange(len(person)):
        mean, m = means[person[n]], row[n]
        heatmap, own_tags = heatmaps[maps[m]], tags[maps[m]]
        best, where = np.float32(-np.inf), 0
        for chunk in range(ceilings.shape[1]):
            # No tag raises a pixel above its height.
            if ceilings[m, chunk] < best:
                break
            begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, blocks)
            bounds = _upper_bounds(
                mean, top[m, begin:end], low[m, :, begin:end], high[m, :, begin:end]
            )
            # The most promising block first: few others can then hold anything better.
            first = bounds.argmax()
            if bounds[first] < best:
                continue
            best, where = _best_in_block(
                order[m, begin + first], across, mean, heatmap, own_tags, best, where
            )
            for i in range(end - begin):
                if bounds[i] >= best and i != first:
                    best, where = _best_in_block(
                        order[m, begin + i], across, mean, heatmap, own_tags, best, where
                    )
        pixels[n] = where
    return pixels


@numba.njit(cache=True)
def _upper_bounds(mean: Floats32, top: Floats32, low: Floats32, high: Floats32) -> Floats32:
    """Return an upper bound of every block's pixel values for a person.

    Args:
        mean: (T,) the person's mean tags.
        top: (S,) of some blocks.
        low: (T, S).
        high: (T, S).
    """
    blocks = len(top)
    bounds = np.zeros(blocks, np.float32)
    zero = np.float32(0)
    for t in range(len(mean)):
        tag = mean[t]
        for block in range(blocks):
            below, above = low[t, block] - tag, tag - high[t, block]
            gap = below if below > above else above
            gap = gap if gap > zero else zero
            bounds[block] += gap * gap
    for block in range(blocks):
        # Slightly less than the distance, so that rounding errors never exclude the best pixel.
        distance = np.sqrt(bounds[block]) * np.float32(0.9999) - np.float32(1e-4)
        distance = distance if distance > zero else zero
        bounds[block] = top[block] - np.rint(distance)
    return bounds


@numba.njit(cache=True)
def _best_in_block(
    block: int,
    across: int,
    mean: Floats32,
    heatmap: Floats32,
    tags: Floats32,
    best: np.float32,
    where: int,
) -> tuple[np.float32, int]:
    """Return the best value so far and its pixel, after a block has been searched.

    Args:
        block: number of the block.
        across: number of blocks in a row of blocks.
        mean: (T,) the person's mean tags.
        heatmap: (H, W).
        tags: (T, H, W).
        best: the best value before.
        where: its flat index.
    """
    height, width = heatmap.shape
    i, j = block // across, block % across
    for y in range(i * BLOCK, min((i + 1) * BLOCK, height)):
        for x in range(j * BLOCK, min((j + 1) * BLOCK, width)):
            total = np.float32(0)
            for t in range(len(mean)):
                gap = tags[t, y, x] - mean[t]
                total += gap * gap
            value = heatmap[y, x] - np.rint(np.sqrt(total))
            at = y * width + x
            # The first pixel among equals, as argmax takes.
            if value > best or (value == best and at < where):
                best, where = value, at
    return best, where
