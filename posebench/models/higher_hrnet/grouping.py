"""Associative embedding: keypoints of one map each become people by the likeness of their tags.

Shapes: K keypoints, H x W pixels of the maps, T tags per pixel (two with the mirrored image),
N candidates of a keypoint, P people.

Source: Newell et al. (arXiv:1611.05424) as the published HigherHRNet code has it. The two loops
that it spends its time in are compiled: the assignment, whose choice among equal costs decides who
gets a keypoint, and the search for missing keypoints, which looks at blocks of pixels that could
hold the best one in place of at every pixel for every person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_PEOPLE = 30
MIN_SCORE = 0.1  # of a candidate
SAME_PERSON = 1.0  # tags nearer than this may be one person's
SUPPRESSION = 5  # side of the window in which a candidate is the highest
BLOCK = 4  # pixels, side of the blocks of the search
LEVELS = 1024  # of height, by which blocks are ranked
CHUNK = 256  # blocks that are looked at before the search may end

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """The highest peaks of every keypoint's map, best first; filled up with zeros."""

    scores: Floats32  # (K, N)
    cells: NDArray[np.int64]  # (K, N, 2) x, y
    tags: Floats32  # (K, N, T)


def find_candidates(heatmaps: Tensor, tags: Tensor) -> Candidates:
    """Return the 30 best local maxima of each map above the least score.

    Stays on the device until they are few. A pixel is compared with one neighbour after the other,
    and only those that are left with the next, so that most pixels are looked at once; pooling
    looks at every pixel's whole window.

    Args:
        heatmaps: (K, H, W).
        tags: (K, T, H, W).
    """
    height, width = heatmaps.shape[-2:]
    k, y, x = (heatmaps > MIN_SCORE).nonzero().unbind(1)
    scores = heatmaps[k, y, x]
    reach = SUPPRESSION // 2
    window = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    window.sort(key=lambda step: abs(step[0]) + abs(step[1]))
    for dy, dx in window[1:]:  # the first is the pixel itself
        # Beyond the border stands the outermost pixel, which is in the window as well.
        other = heatmaps[k, (y + dy).clamp(0, height - 1), (x + dx).clamp(0, width - 1)]
        highest = scores >= other
        k, y, x, scores = k[highest], y[highest], x[highest], scores[highest]
    own_tags = tags[k, :, y, x]
    best = scores.argsort(descending=True, stable=True)
    best = best[k[best].argsort(stable=True)]
    k, cells, scores = k[best].cpu(), torch.stack([x, y], 1)[best].cpu(), scores[best].cpu()
    first = torch.searchsorted(k, torch.arange(len(heatmaps)))
    place = torch.arange(len(k)) - first[k]
    keep = place < MAX_PEOPLE
    found = Candidates(
        np.zeros((len(heatmaps), MAX_PEOPLE), np.float32),
        np.zeros((len(heatmaps), MAX_PEOPLE, 2), np.int64),
        np.zeros((len(heatmaps), MAX_PEOPLE, tags.shape[1]), np.float32),
    )
    where = (k[keep].numpy(), place[keep].numpy())
    found.scores[where] = scores[keep].float().numpy()
    found.cells[where] = cells[keep].numpy()
    found.tags[where] = own_tags[best].cpu()[keep].float().numpy()
    return found


def group(candidates: Candidates, order: tuple[int, ...]) -> tuple[Floats32, list[Floats32]]:
    """Return people (P, K, 3 + T) x, y, score, tags, in the order in which they were begun.

    Args:
        candidates: of all keypoints.
        order: in which keypoints look for their people.

    A missing keypoint is all zero. Also returns, per person, the tags of the keypoints it has.
    """
    count, tag_size = len(candidates.scores), candidates.tags.shape[-1]
    # By the first tag, as published: two people of one tag are one.
    people: dict[float, Floats32] = {}
    tags: dict[float, list[Floats32]] = {}
    for k in order:
        keep = candidates.scores[k] > MIN_SCORE
        if not keep.any():
            continue
        own_tags = candidates.tags[k][keep]
        # float64 from here, or costs that differ in their scores' last digits become equal.
        joints = np.concatenate(
            [candidates.cells[k][keep], candidates.scores[k][keep, None], own_tags], 1
        )
        owners: list[float | None] = [None] * len(joints)
        if people:
            keys = list(people)[:MAX_PEOPLE]
            means = np.stack([np.mean(tags[key], axis=0) for key in keys])
            distance = np.linalg.norm(joints[:, None, 3:] - means[None], axis=2)
            # Scores decide among equals only; who has no likely person gets one of the last
            # columns, which are nobody's.
            cost = np.round(distance) * 100 - joints[:, 2:3]
            extra = max(len(joints) - len(keys), 0)
            cost = np.pad(cost, ((0, 0), (0, extra)), constant_values=1e10)
            for row, column in assign(cost.astype(np.float64)):
                if column < len(keys) and distance[row, column] < SAME_PERSON:
                    owners[row] = keys[column]
        for joint, tag, owner in zip(joints, own_tags, owners, strict=True):
            if owner is None:
                owner = float(tag[0])
                people.setdefault(owner, np.zeros((count, 3 + tag_size), np.float32))
                tags[owner] = [tag]
            else:
                tags[owner].append(tag)
            people[owner][k] = joint
    if not people:
        return np.zeros((0, count, 3 + tag_size), np.float32), []
    return np.stack(list(people.values())), [np.stack(tags[key]) for key in people]


def adjust(people: Floats32, heatmaps: Floats32) -> Floats32:
    """Move found keypoints a quarter pixel to the higher neighbour, and to pixels' centres."""
    moved = people.copy()
    person, k = np.nonzero(people[..., 2] > 0)
    x, y = people[person, k, 0].astype(int), people[person, k, 1].astype(int)
    dx, dy = _quarter_steps(heatmaps, k, x, y)
    moved[person, k, 0] = people[person, k, 0] + dx + 0.5
    moved[person, k, 1] = people[person, k, 1] + dy + 0.5
    return moved


def _quarter_steps(
    heatmaps: Floats32, k: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    height, width = heatmaps.shape[1:]
    right = heatmaps[k, y, np.minimum(x + 1, width - 1)]
    left = heatmaps[k, y, np.maximum(x - 1, 0)]
    below = heatmaps[k, np.minimum(y + 1, height - 1), x]
    above = heatmaps[k, np.maximum(y - 1, 0), x]
    # Down and left on ties, as published.
    return np.where(right > left, 0.25, -0.25), np.where(below > above, 0.25, -0.25)


def refine(people: Floats32, means: Floats32, heatmaps: Floats32, tags: Floats32) -> Floats32:
    """Fill in missing keypoints: the best pixel by height less the rounded tag distance.

    Args:
        people: (P, K, 3 + T).
        means: (P, T) of their tags.
        heatmaps: (K, H, W).
        tags: (K, T, H, W).
    """
    filled = people.copy()
    # One keypoint after the other, so that its map's bounds stay in the cache.
    k, person = np.nonzero(people[..., 2].T == 0)
    if not len(person):
        return filled
    maps, row = np.unique(k, return_inverse=True)
    ranked = _ranked(*_block_bounds(maps, heatmaps, tags))
    best = _search(person, row, maps, means.astype(np.float32), heatmaps, tags, *ranked)
    y, x = best // heatmaps.shape[2], best % heatmaps.shape[2]
    scores = heatmaps[k, y, x]
    dx, dy = _quarter_steps(heatmaps, k, x, y)
    keep = scores > 0
    person, k = person[keep], k[keep]
    filled[person, k, 0] = (x + 0.5 + dx)[keep]
    filled[person, k, 1] = (y + 0.5 + dy)[keep]
    filled[person, k, 2] = scores[keep]
    return filled


@numba.njit(cache=True, parallel=True)
def _block_bounds(maps, heatmaps, tags):  # type: ignore[no-untyped-def]
    """Return the bounds of the blocks of M of the maps.

    Returns:
        Each block's highest pixel (M, N), and its lowest and highest tags (M, T, N).
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
def _ranked(top, low, high):  # type: ignore[no-untyped-def]
    """Rank each map's blocks by height, to the nearest level.

    Returns:
        Number (M, N), top, low and high of the blocks in that order, and the highest pixel of each
        chunk and all after it (M, N / CHUNK, rounded up).
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
            # Also of maps that are not finite, whose levels would lie anywhere.
            level[block] = np.int32(below) if 0 <= below < LEVELS else 0
            begin[level[block] + 1] += 1
        begin = np.cumsum(begin)
        for block in range(blocks):
            place = begin[level[block]]
            begin[level[block]] += 1
            order[k, place] = block
            tops[k, place] = top[k, block]
            lows[k, :, place] = low[k, :, block]
            highs[k, :, place] = high[k, :, block]
        ceiling = np.float32(-np.inf)
        for chunk in range(chunks - 1, -1, -1):
            ceiling = max(ceiling, tops[k, chunk * CHUNK : (chunk + 1) * CHUNK].max())
            ceilings[k, chunk] = ceiling
    return order, tops, lows, highs, ceilings


@numba.njit(cache=True, parallel=True)
def _search(person, row, maps, means, heatmaps, tags, order, top, low, high, ceilings):  # type: ignore[no-untyped-def]
    """Return the flat index of the best pixel for each pair of person and row of `maps`."""
    across = (heatmaps.shape[2] + BLOCK - 1) // BLOCK
    blocks = top.shape[1]
    found = np.zeros(len(person), np.int64)
    for n in numba.prange(len(person)):
        mean, m = means[person[n]], row[n]
        heatmap, own_tags = heatmaps[maps[m]], tags[maps[m]]
        best, where = np.float32(-np.inf), np.int64(0)
        for chunk in range(ceilings.shape[1]):
            # No tag raises a pixel above its height.
            if ceilings[m, chunk] < best:
                break
            begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, blocks)
            offers = _offers(mean, top[m, begin:end], low[m, :, begin:end], high[m, :, begin:end])
            # The most promising block first: few others can then hold anything better.
            first = offers.argmax()
            if offers[first] < best:
                continue
            best, where = _best_in_block(
                order[m, begin + first], across, mean, heatmap, own_tags, best, where
            )
            for i in range(end - begin):
                if offers[i] >= best and i != first:
                    best, where = _best_in_block(
                        order[m, begin + i], across, mean, heatmap, own_tags, best, where
                    )
        found[n] = where
    return found


@numba.njit(cache=True)
def _offers(mean, top, low, high):  # type: ignore[no-untyped-def]
    """Return the most that each block's pixels can be worth to a person."""
    blocks = len(top)
    total = np.zeros(blocks, np.float32)
    zero = np.float32(0)
    for t in range(len(mean)):
        tag = mean[t]
        for block in range(blocks):
            below, above = low[t, block] - tag, tag - high[t, block]
            gap = below if below > above else above
            gap = gap if gap > zero else zero
            total[block] += gap * gap
    for block in range(blocks):
        # A hair less, so that rounding on the way never hides the best pixel.
        distance = np.sqrt(total[block]) * np.float32(0.9999) - np.float32(1e-4)
        distance = distance if distance > zero else zero
        total[block] = top[block] - np.rint(distance)
    return total


@numba.njit(cache=True)
def _best_in_block(block, across, mean, heatmap, tags, best, where):  # type: ignore[no-untyped-def]
    """Return the best value and pixel so far, with those of a block."""
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


@numba.njit(cache=True)
def _munkres(cost):  # type: ignore[no-untyped-def]  # noqa: C901
    """Assign the rows of a square matrix to columns; changes the matrix.

    Kuhn and Munkres' algorithm in the order of munkres 1.1.4's steps, which decides among
    assignments of equal cost.
    """
    n = len(cost)
    for i in range(n):
        cost[i] -= cost[i].min()
    starred = np.full(n, -1)  # row -> column
    starred_row = np.full(n, -1)  # column -> row
    primed = np.full(n, -1)  # row -> column
    row_covered = np.zeros(n, np.bool_)
    column_covered = np.zeros(n, np.bool_)
    for i in range(n):
        for j in range(n):
            if cost[i, j] == 0 and starred_row[j] < 0 and starred[i] < 0:
                starred[i], starred_row[j] = j, i
    while True:
        row_covered[:] = False
        for j in range(n):
            column_covered[j] = starred_row[j] >= 0
        if column_covered.all():
            return starred
        row, column = 0, 0
        while True:
            row, column = _uncovered_zero(cost, row_covered, column_covered, row, column)
            if row < 0:
                # No zero is left: the smallest uncovered value makes one.
                smallest = np.inf
                for i in range(n):
                    for j in range(n):
                        if not row_covered[i] and not column_covered[j]:
                            smallest = min(smallest, cost[i, j])
                for i in range(n):
                    for j in range(n):
                        if row_covered[i]:
                            cost[i, j] += smallest
                        if not column_covered[j]:
                            cost[i, j] -= smallest
                row, column = 0, 0
                continue
            primed[row] = column
            if starred[row] < 0:
                break
            column = starred[row]
            row_covered[row] = True
            column_covered[column] = False
        # Exchange stars and primes along the path that begins at the last prime.
        while True:
            previous = starred_row[column]
            starred[row], starred_row[column] = column, row
            if previous < 0:
                break
            row, column = previous, primed[previous]
        primed[:] = -1


@numba.njit(cache=True)
def _uncovered_zero(cost, row_covered, column_covered, first_row, first_column):  # type: ignore[no-untyped-def]
    """Return the first row from `first_row` on that has an uncovered zero, and its last column.

    The search wraps around in both directions, and a row is looked through to its end.
    """
    n = len(cost)
    for down in range(n):
        i = (first_row + down) % n
        found = -1
        if not row_covered[i]:
            for across in range(n):
                j = (first_column + across) % n
                if cost[i, j] == 0 and not column_covered[j]:
                    found = j
        if found >= 0:
            return i, found
    return -1, -1


def assign(cost: Floats) -> list[tuple[int, int]]:
    """Return (row, column) pairs of least total cost, in the order of rows.

    Of several the one that munkres 1.1.4 takes. A matrix that is not square is filled with zeros.
    """
    rows, columns = cost.shape
    size = max(rows, columns)
    square = np.zeros((size, size))
    square[:rows, :columns] = cost
    chosen = _munkres(square)
    return [(row, int(chosen[row])) for row in range(rows) if chosen[row] < columns]
