"""Composite fields become people: seeds grow along limbs, the surest first.

Source: PifPaf (Kreiss et al., CVPR 2019), with the constants and the order of its authors' decoder.

Shapes: K keypoints, M limbs, H x W cells, N cells of a field that count, P people. Coordinates and
scales are in pixels unless they are said to be in cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posebench.models.pifpaf.cells import (
    LEAST_CONFIDENCE,
    AccumulatedMap,
    Cells,
    Floats,
    Planes,
    by_column,
    column_of,
    height_at,
    read_cell,
)
from posebench.models.pifpaf.targets import FieldLayout

SEED_SCORE = 0.2  # least, of a cell where a person begins
SHARE_OF_MAP = 0.9  # in scores of seeds and limbs; the rest is the cell's own confidence
KEYPOINT_SCORE = 0.15  # least, of a keypoint and of a person
KEYPOINT_SHARE = 0.5  # least, of the score of the keypoint from which another is found
OCCUPIED = 1e-5  # by which the score of a keypoint in another's place is multiplied
COPIED = 1e-5  # score of a keypoint that is copied from its neighbour
COMPLETING_CONFIDENCE = 0.001  # least, of limbs' cells when poses are completed
WIDER = 4.0  # the window around a keypoint in which a limb's cells count, when completing
OCCUPANCY_STRIDE = 2


@dataclass(frozen=True)
class FieldPoses:
    """The people of one image, best first; a keypoint that was not found has a score of 0."""

    keypoints: Floats  # (P, K, 4) x, y, score, scale
    means: Floats  # (P,) of the keypoint scores, which people are ranked by
    scores: Floats  # (P,) weighted, the surest keypoints first


@dataclass(frozen=True)
class Look:
    """The fields of an image at another scale."""

    keypoints: Tensor  # (K, 4, H, W)
    limbs: Tensor  # (M, 7, H, W)
    to_first: Floats  # (2, 3) affine from its pixels to those of the first look; does not turn


def decode_fields(
    keypoints: Tensor,
    limbs: Tensor,
    layout: FieldLayout,
    stride: int,
    *,
    reverse_match: bool = True,
    complete: bool = False,
    further: Sequence[Look] = (),
) -> FieldPoses:
    """Return the people that the fields of one image tell of.

    Args:
        keypoints: (K, 4, H, W) logit of the confidence; x and y offset, scale in cells.
        limbs: (M, 7, H, W) logit; x and y offset to both ends, scales of both in cells.
        layout: of the keypoint set.
        stride: pixels per cell.
        reverse_match: a keypoint counts only if its limb leads back to where it was found from.
        complete: every person gets all keypoints, be they ever so unsure.
        further: looks at other scales. All cells are put together, and the accumulated map is the
            mean over looks.
    """
    height, width = keypoints.shape[-2:]
    size = ((height - 1) * stride + 1, (width - 1) * stride + 1)
    first = Look(keypoints, limbs, np.eye(2, 3))
    looks = (first, *further)
    found = Planes.of([(look.keypoints, look.to_first) for look in looks], stride).cells(SEED_SCORE)
    accumulated = AccumulatedMap.of(found, len(keypoints), size, stride, len(looks))
    seeds = _seeds(found, accumulated)
    if not len(seeds):
        return _poses(np.zeros((0, len(keypoints), 4)), layout)
    graph = _graph(layout, len(keypoints))
    planes = Planes.of([(look.limbs, look.to_first) for look in looks], stride)
    sure = _connections(planes.cells(LEAST_CONFIDENCE), accumulated, graph.limbs)
    unsure = (planes.fields, planes.places, graph.limbs)
    ways = (graph.edges, sure, unsure, accumulated.content)
    poses = _grow_from_seeds(seeds, *ways, size, reverse_match)
    least = KEYPOINT_SCORE
    if complete and len(poses):
        _complete(poses, *ways)
        least = 0.0
    return _poses(_suppressed(poses, *size, least), layout)


# --------------------------------------------------------------------------- seeds and connections

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class _Graph:
    """The limbs, each a way from its first end (number 2 m) and from its second (2 m + 1)."""

    limbs: Integers  # (M, 2)
    edges: tuple[Integers, Integers, Integers]  # where a keypoint's ways begin; numbers; ends


def _graph(layout: FieldLayout, keypoints: int) -> _Graph:
    limbs = np.array(layout.limbs, np.int64)
    source, target = limbs.ravel(), limbs[:, ::-1].ravel()
    order = np.argsort(source, kind="stable")
    begin = np.searchsorted(source[order], np.arange(keypoints + 1))
    return _Graph(limbs, (begin, order, target[order]))


def _seeds(found: Cells, accumulated: AccumulatedMap) -> Floats:
    """Return where people may begin (N, 5): keypoint, x, y, score, scale; best first."""
    confidence, x, y, scale = found.values.T
    height = accumulated.at(found.maps, x, y)
    score = SHARE_OF_MAP * height + (1 - SHARE_OF_MAP) * confidence
    good = (score >= SEED_SCORE).nonzero()[0]
    good = good[np.argsort(-score[good], kind="stable")]
    seeds: Floats = np.stack([found.maps, x, y, score, scale], 1)[good]
    return seeds


def _connections(
    found: Cells, accumulated: AccumulatedMap, limbs: Integers
) -> tuple[Floats, Integers]:
    """Return limbs' sure cells in both directions, and where each direction's columns begin.

    Rows are start x, y, end x, y, scale of the end, score; by direction and column of the start.
    """
    rows, directions = _directed(found.maps, found.values, limbs, accumulated.content)
    sorted_rows: tuple[Floats, Integers] = by_column(
        rows, directions, rows[:, 0], 2 * len(limbs), accumulated.columns, accumulated.stride
    )
    return sorted_rows


@numba.njit(cache=True)
def _directed(maps, values, limbs, bumps):  # type: ignore[no-untyped-def]
    """Return the rows (N, 6) of both directions, and which (N,)."""
    rows, directions = np.empty((2 * len(maps), 6)), np.empty(2 * len(maps), np.int64)
    count = 0
    for back in range(2):
        for n in range(len(maps)):
            target = limbs[maps[n], 1 - back]
            if _direct(rows[count], values[n], back, target, LEAST_CONFIDENCE, bumps):
                directions[count] = 2 * maps[n] + back
                count += 1
    return rows[:count], directions[:count]


@numba.njit(cache=True)
def _direct(row, cell, back, target, least, bumps):  # type: ignore[no-untyped-def]
    """Write a limb's cell as a way to its end of keypoint `target`; return if it scores enough."""
    start, end = 1 + 2 * back, 3 - 2 * back
    score = cell[0] * (
        1 - SHARE_OF_MAP + SHARE_OF_MAP * height_at(target, cell[end], cell[end + 1], *bumps)
    )
    row[0], row[1], row[2], row[3] = cell[start], cell[start + 1], cell[end], cell[end + 1]
    row[4], row[5] = cell[6 - back], score
    return score > least


# ------------------------------------------------------------------------------------------ growth


@numba.njit(cache=True)
def _grow_from_seeds(seeds, edges, sure, unsure, bumps, size, reverse_match):  # type: ignore[no-untyped-def]
    """Return people (P, K, 4) x, y, score, scale in the order in which they were begun."""
    keypoints = len(edges[0]) - 1
    taken = _occupancy(keypoints, *size)
    found = np.zeros((len(seeds), keypoints, 4))
    count = 0
    for n in range(len(seeds)):
        k = int(seeds[n, 0])
        if _is_taken(taken, k, seeds[n, 1], seeds[n, 2]):
            continue
        pose = found[count]
        pose[k] = seeds[n, 1:]
        _grow(pose, edges, sure, unsure, bumps, reverse_match, False)
        for k in range(keypoints):
            if pose[k, 2] > 0:
                _take(taken, k, pose[k])
        count += 1
    return found[:count].copy()


@numba.njit(cache=True)
def _complete(poses, edges, sure, unsure, bumps):  # type: ignore[no-untyped-def]
    """Give every person all keypoints, in place."""
    for p in range(len(poses)):
        _grow(poses[p], edges, sure, unsure, bumps, False, True)
        _copy_missing(poses[p], edges[0], edges[2])


@numba.njit(cache=True)
def _copy_missing(pose, begin, target):  # type: ignore[no-untyped-def]
    """Put each missing keypoint where its best known neighbour is, in place.

    The best known keypoint hands on first; among equals the one that was known first.
    """
    keypoints = len(pose)
    done = np.zeros(keypoints, np.bool_)
    known_since = np.zeros(keypoints)
    now = 1
    while True:
        best = -1
        for k in range(keypoints):
            if done[k] or pose[k, 2] == 0:
                continue
            if (
                best < 0
                or pose[k, 2] > pose[best, 2]
                or (pose[k, 2] == pose[best, 2] and known_since[k] < known_since[best])
            ):
                best = k
        if best < 0:
            return
        done[best] = True
        for edge in range(begin[best], begin[best + 1]):
            k = target[edge]
            if pose[k, 2] == 0:
                pose[k] = pose[best]
                pose[k, 2] = COPIED
                known_since[k] = now
                now += 1


@numba.njit(cache=True)
def _grow(pose, edges, sure, unsure, bumps, reverse_match, completing):  # type: ignore[no-untyped-def]
    """Find further keypoints of a person from those it has, in place.

    Args:
        pose: (K, 4) x, y, score, scale.
        edges: as `_Graph.edges`.
        sure: as `_connections`.
        unsure: all of the limbs' cells: planes, their places, and the limbs (M, 2).
        bumps: as `AccumulatedMap.content`.
        reverse_match: as `decode_fields`.
        completing: any keypoint will do, and unsure cells count.
    """
    begin, direction, target = edges
    count = len(direction)
    least, share = (0.0, 0.0) if completing else (KEYPOINT_SCORE, KEYPOINT_SHARE)
    source = np.empty(count, np.int64)
    for k in range(len(begin) - 1):
        source[begin[k] : begin[k + 1]] = k
    # Of each edge: 0 to be waited for, 1 waits, 2 its keypoint is found, 3 done.
    state = np.zeros(count, np.int64)
    priority = np.zeros(count)
    offer = np.zeros((count, 4))
    for edge in range(count):
        if pose[source[edge], 2] > 0:
            state[edge] = 1
            priority[edge] = math.sqrt(pose[source[edge], 2])
    while True:
        best = -1
        for edge in range(count):
            if (state[edge] == 1 or state[edge] == 2) and (
                best < 0 or priority[edge] > priority[best]
            ):
                best = edge
        if best < 0:
            return
        known = pose[source[best]]
        if pose[target[best], 2] > 0:
            state[best] = 3
        elif state[best] == 1:
            state[best] = 3
            one = direction[best]
            x, y, scale, value = _follow(known, one, sure, unsure, bumps, completing)
            score = math.sqrt(value * known[2])
            if value == 0 or score < least or score < share * known[2]:
                continue
            offer[best] = x, y, score, scale
            if reverse_match:
                back = _follow(offer[best], one ^ 1, sure, unsure, bumps, completing)
                away = abs(back[0] - known[0]) + abs(back[1] - known[1])
                if back[3] == 0 or away > known[3]:
                    continue
            priority[best] = score
            state[best] = 2
        else:
            state[best] = 3
            k = target[best]
            pose[k] = offer[best]
            for edge in range(begin[k], begin[k + 1]):
                if state[edge] == 0:
                    state[edge] = 1
                    priority[edge] = math.sqrt(pose[k, 2])


@numba.njit(cache=True)
def _follow(known, one, sure, unsure, bumps, completing):  # type: ignore[no-untyped-def]
    """Return x, y, scale and value of the keypoint that a direction's cells lead to from a known.

    The value is 0 where there are none. The best two cells are blended if they agree.
    """
    x, y = known[0], known[1]
    sigma = 0.5 * max(0.5, known[3])
    reach = sigma * WIDER if completing else sigma
    if completing:
        # All cells would be a hundred times as many to sort; a person lacks few keypoints.
        rows = _unsure_rows(x, y, reach, one, unsure, bumps)
    else:
        rows = _sure_rows(x, reach, one, sure, 2 * len(unsure[2]), bumps)
    best, second = -1, -1
    best_score, second_score = 0.0, 0.0
    for i in range(len(rows)):
        dx, dy = abs(rows[i, 0] - x), abs(rows[i, 1] - y)
        if dx > reach or dy > reach:
            continue
        score = math.exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma)) * rows[i, 5]
        if score > best_score:
            second, second_score = best, best_score
            best, best_score = i, score
        elif score > second_score:
            second, second_score = i, score
    if best < 0:
        return 0.0, 0.0, 0.0, 0.0
    tx, ty, ts = rows[best, 2], rows[best, 3], rows[best, 4]
    if second < 0 or second_score < 0.01 or second_score < 0.5 * best_score:
        return tx, ty, ts, 0.5 * best_score
    ox, oy, os = rows[second, 2], rows[second, 3], rows[second, 4]
    if (ox - tx) ** 2 + (oy - ty) ** 2 > 0.25 * ts * ts:
        return tx, ty, ts, 0.5 * best_score
    total = best_score + second_score
    return (
        (best_score * tx + second_score * ox) / total,
        (best_score * ty + second_score * oy) / total,
        (best_score * ts + second_score * os) / total,
        0.5 * total,
    )


@numba.njit(cache=True)
def _sure_rows(x, reach, one, sure, directions, bumps):  # type: ignore[no-untyped-def]
    """Return a direction's rows whose start may lie within reach."""
    rows, columns_begin = sure
    stride = bumps[-1]
    columns = (len(columns_begin) - 1) // directions
    first = columns_begin[one * columns + column_of(x - reach, columns, stride)]
    last = columns_begin[one * columns + column_of(x + reach, columns, stride) + 1]
    return rows[first:last]


@numba.njit(cache=True)
def _unsure_rows(x, y, reach, one, unsure, bumps):  # type: ignore[no-untyped-def]
    """Return a direction's rows whose start lies within reach, be they ever so unsure."""
    fields, places, limbs = unsure
    m, back = one // 2, one % 2
    starts_x, starts_y = fields[m, 1 + 2 * back], fields[m, 2 + 2 * back]
    near = np.zeros(len(starts_x), np.bool_)
    count = 0
    for n in range(len(near)):
        dx = starts_x[n] * places[2, n] + places[0, n] - x
        dy = starts_y[n] * places[2, n] + places[1, n] - y
        near[n] = (abs(dx) <= reach) & (abs(dy) <= reach)
        count += near[n]
    rows, cell = np.empty((count, 6)), np.empty(fields.shape[1])
    count = 0
    for n in range(len(near)):
        if (
            near[n]
            and read_cell(cell, fields, places, m, n)
            and cell[0] >= COMPLETING_CONFIDENCE
            and _direct(rows[count], cell, back, limbs[m, 1 - back], COMPLETING_CONFIDENCE, bumps)
        ):
            count += 1
    return rows[:count]


# ------------------------------------------------------------------------------------- suppression


@numba.njit(cache=True)
def _occupancy(keypoints, height, width):  # type: ignore[no-untyped-def]
    return np.zeros(
        (keypoints, height // OCCUPANCY_STRIDE + 1, width // OCCUPANCY_STRIDE + 1), np.bool_
    )


@numba.njit(cache=True)
def _is_taken(taken, k, x, y):  # type: ignore[no-untyped-def]
    column = min(max(int(x / OCCUPANCY_STRIDE), 0), taken.shape[2] - 1)
    row = min(max(int(y / OCCUPANCY_STRIDE), 0), taken.shape[1] - 1)
    return taken[k, row, column]


@numba.njit(cache=True)
def _take(taken, k, keypoint):  # type: ignore[no-untyped-def]
    x, y = keypoint[0] / OCCUPANCY_STRIDE, keypoint[1] / OCCUPANCY_STRIDE
    reach = max(2.0, keypoint[3] / OCCUPANCY_STRIDE)
    top, bottom = max(int(y - reach), 0), min(int(y + reach) + 1, taken.shape[1])
    left, right = max(int(x - reach), 0), min(int(x + reach) + 1, taken.shape[2])
    for row in range(top, bottom):
        for column in range(left, right):
            taken[k, row, column] = True


def _suppressed(poses: Floats, height: int, width: int, least: float) -> Floats:
    """Return people without the keypoints that a better person has, best first.

    Who has too little left is gone.
    """
    order = np.argsort(-poses[..., 2].mean(1), kind="stable")
    _suppress(poses, order, height, width, least)
    means = poses[..., 2].mean(1)
    order = np.argsort(-means, kind="stable")
    kept: Floats = poses[order[: (means >= KEYPOINT_SCORE).sum()]]
    return kept


@numba.njit(cache=True)
def _suppress(poses, order, height, width, least):  # type: ignore[no-untyped-def]
    keypoints = poses.shape[1]
    taken = _occupancy(keypoints, height, width)
    for p in order:
        for k in range(keypoints):
            if poses[p, k, 2] == 0:
                continue
            if _is_taken(taken, k, poses[p, k, 0], poses[p, k, 1]):
                poses[p, k, 2] *= OCCUPIED
            else:
                _take(taken, k, poses[p, k])
            if poses[p, k, 2] <= least:
                poses[p, k, 2] = 0  # its place stays, as published


def _poses(people: Floats, layout: FieldLayout) -> FieldPoses:
    weights = np.array(layout.score_weights)
    surest_first = -np.sort(-people[..., 2], 1)
    scores = surest_first @ (weights / weights.sum())
    return FieldPoses(people, people[..., 2].mean(1), scores)
