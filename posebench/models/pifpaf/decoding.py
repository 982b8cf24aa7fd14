"""Decoding of composite fields: poses grow from seeds along limbs, the most confident first.

Source: PifPaf (Kreiss et al., CVPR 2019), with the constants and the order of its authors' decoder.

Shapes: K keypoints, M limbs, H x W cells, N cells above a threshold, P people. Coordinates and
scales are in pixels unless stated to be in cells.
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

SEED_SCORE = 0.2  # minimum score of a seed
SHARE_OF_MAP = 0.9  # weight of the accumulated map in a seed's or limb's score; rest: confidence
KEYPOINT_SCORE = 0.15  # minimum score of a keypoint and of a person
KEYPOINT_SHARE = 0.5  # minimum score of a keypoint, relative to the one it is reached from
OCCUPIED = 1e-5  # factor on the score of a keypoint in an occupied position
COPIED = 1e-5  # score of a keypoint that is copied from its neighbour
COMPLETING_CONFIDENCE = 0.001  # minimum confidence of a limb cell when poses are completed
WIDER = 4.0  # factor on the search window around a keypoint when poses are completed
OCCUPANCY_STRIDE = 2


@dataclass(frozen=True)
class FieldPoses:
    """The people of one image, best first; a missing keypoint has score 0."""

    keypoints: Floats  # (P, K, 4) x, y, score, scale
    means: Floats  # (P,) mean of the keypoint scores, by which people are ranked
    scores: Floats  # (P,) mean of the keypoint scores, weighted by their rank


@dataclass(frozen=True)
class View:
    """The fields of an image at another scale."""

    keypoints: Tensor  # (K, 4, H, W)
    limbs: Tensor  # (M, 7, H, W)
    to_first: Floats  # (2, 3) affine map from its pixels to the first view's, without rotation


def decode_fields(
    keypoints: Tensor,
    limbs: Tensor,
    layout: FieldLayout,
    stride: int,
    *,
    reverse_match: bool = True,
    complete: bool = False,
    further: Sequence[View] = (),
) -> FieldPoses:
    """Return the people decoded from the fields of one image.

    Args:
        keypoints: (K, 4, H, W) logit of the confidence; x and y offset, scale in cells.
        limbs: (M, 7, H, W) logit; x and y offset to both ends, scales of both in cells.
        layout: layout of the keypoint set.
        stride: pixels per cell.
        reverse_match: whether to accept a keypoint only if the limb, followed backwards from it,
            leads back to the keypoint it was reached from.
        complete: whether every person gets all keypoints, however low their scores.
        further: views at other scales. The cells of all views are joined, and the accumulated map
            is the mean over views.
    """
    height, width = keypoints.shape[-2:]
    size = ((height - 1) * stride + 1, (width - 1) * stride + 1)
    first = View(keypoints, limbs, np.eye(2, 3))
    views = (first, *further)
    cells = Planes.of([(view.keypoints, view.to_first) for view in views], stride).cells(SEED_SCORE)
    accumulated = AccumulatedMap.of(cells, len(keypoints), size, stride, len(views))
    seeds = _seeds(cells, accumulated)
    if not len(seeds):
        return _poses(np.zeros((0, len(keypoints), 4)), layout)
    graph = _graph(layout, len(keypoints))
    planes = Planes.of([(view.limbs, view.to_first) for view in views], stride)
    confident = _connections(planes.cells(LEAST_CONFIDENCE), accumulated, graph.limbs)
    all_cells = (planes.fields, planes.positions, graph.limbs)
    connections = (graph.edges, confident, all_cells, accumulated.content)
    poses = _grow_from_seeds(seeds, *connections, size, reverse_match)
    least = KEYPOINT_SCORE
    if complete and len(poses):
        _complete(poses, *connections)
        least = 0.0
    return _poses(_suppressed(poses, *size, least), layout)


# --------------------------------------------------------------------------- seeds and connections

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class _Graph:
    """The limbs as directed edges: 2 m leads from limb m's first end, 2 m + 1 from its second."""

    limbs: Integers  # (M, 2)
    # (K + 1,) index of each source keypoint's first edge; (2M,) direction; (2M,) target keypoint
    edges: tuple[Integers, Integers, Integers]


def _graph(layout: FieldLayout, keypoints: int) -> _Graph:
    limbs = np.array(layout.limbs, np.int64)
    source, target = limbs.ravel(), limbs[:, ::-1].ravel()
    order = np.argsort(source, kind="stable")
    begin = np.searchsorted(source[order], np.arange(keypoints + 1))
    return _Graph(limbs, (begin, order, target[order]))


def _seeds(cells: Cells, accumulated: AccumulatedMap) -> Floats:
    """Return the seeds (N, 5): keypoint, x, y, score, scale; best first."""
    confidence, x, y, scale = cells.values.T
    height = accumulated.at(cells.maps, x, y)
    score = SHARE_OF_MAP * height + (1 - SHARE_OF_MAP) * confidence
    good = (score >= SEED_SCORE).nonzero()[0]
    good = good[np.argsort(-score[good], kind="stable")]
    seeds: Floats = np.stack([cells.maps, x, y, score, scale], 1)[good]
    return seeds


def _connections(
    cells: Cells, accumulated: AccumulatedMap, limbs: Integers
) -> tuple[Floats, Integers]:
    """Return the confident limb cells in both directions, and each column's first row.

    Rows are start x, y, end x, y, scale of the end, score, sorted by direction and by the start's
    column.
    """
    rows, directions = _directed(cells.maps, cells.values, limbs, accumulated.content)
    sorted_rows: tuple[Floats, Integers] = by_column(
        rows, directions, rows[:, 0], 2 * len(limbs), accumulated.columns, accumulated.stride
    )
    return sorted_rows


@numba.njit(cache=True)
def _directed(maps, values, limbs, bumps):  # type: ignore[no-untyped-def]
    """Return the rows (N, 6) of both directions, and the direction (N,) of each."""
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
    """Write a limb cell to `row`, directed to keypoint `target`; return if it scores enough."""
    start, end = 1 + 2 * back, 3 - 2 * back
    score = cell[0] * (
        1 - SHARE_OF_MAP + SHARE_OF_MAP * height_at(target, cell[end], cell[end + 1], *bumps)
    )
    row[0], row[1], row[2], row[3] = cell[start], cell[start + 1], cell[end], cell[end + 1]
    row[4], row[5] = cell[6 - back], score
    return score > least


# ------------------------------------------------------------------------------------------ growth


@numba.njit(cache=True)
def _grow_from_seeds(seeds, edges, confident, all_cells, bumps, size, reverse_match):  # type: ignore[no-untyped-def]
    """Return people (P, K, 4) x, y, score, scale in the order of their seeds."""
    keypoints = len(edges[0]) - 1
    taken = _occupancy(keypoints, *size)
    poses = np.zeros((len(seeds), keypoints, 4))
    count = 0
    for n in range(len(seeds)):
        k = int(seeds[n, 0])
        if _is_taken(taken, k, seeds[n, 1], seeds[n, 2]):
            continue
        pose = poses[count]
        pose[k] = seeds[n, 1:]
        _grow(pose, edges, confident, all_cells, bumps, reverse_match, False)
        for k in range(keypoints):
            if pose[k, 2] > 0:
                _take(taken, k, pose[k])
        count += 1
    return poses[:count].copy()


@numba.njit(cache=True)
def _complete(poses, edges, confident, all_cells, bumps):  # type: ignore[no-untyped-def]
    """Give every person all keypoints, in place."""
    for p in range(len(poses)):
        _grow(poses[p], edges, confident, all_cells, bumps, False, True)
        _copy_missing(poses[p], edges[0], edges[2])


@numba.njit(cache=True)
def _copy_missing(pose, begin, target):  # type: ignore[no-untyped-def]
    """Copy each missing keypoint from its neighbour with the highest score, in place.

    Sources are taken in descending order of their scores; among equals the earliest comes first.
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
def _grow(pose, edges, confident, all_cells, bumps, reverse_match, completing):  # type: ignore[no-untyped-def]
    """Add the keypoints that limbs reach from those a person has, in place.

    Args:
        pose: (K, 4) x, y, score, scale.
        edges: as `_Graph.edges`.
        confident: as `_connections` returns them.
        all_cells: all limb cells: fields, their positions, and the limbs (M, 2).
        bumps: as `AccumulatedMap.content`.
        reverse_match: as `decode_fields`.
        completing: whether to accept keypoints of any score, and to follow cells of low confidence.
    """
    begin, direction, target = edges
    count = len(direction)
    least, share = (0.0, 0.0) if completing else (KEYPOINT_SCORE, KEYPOINT_SHARE)
    source = np.empty(count, np.int64)
    for k in range(len(begin) - 1):
        source[begin[k] : begin[k + 1]] = k
    # Of each edge: 0 source unknown, 1 source known, 2 has an offer for its target, 3 done.
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
            along = direction[best]
            x, y, scale, value = _follow_limb(known, along, confident, all_cells, bumps, completing)
            score = math.sqrt(value * known[2])
            if value == 0 or score < least or score < share * known[2]:
                continue
            offer[best] = x, y, score, scale
            if reverse_match:
                back = _follow_limb(offer[best], along ^ 1, confident, all_cells, bumps, completing)
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
def _follow_limb(known, along, confident, all_cells, bumps, completing):  # type: ignore[no-untyped-def]
    """Return x, y, scale and value of the keypoint that a limb reaches from a known keypoint.

    The value is 0 if no cell of the limb starts near the known keypoint. The best two cells are
    averaged if they agree.
    """
    x, y = known[0], known[1]
    sigma = 0.5 * max(0.5, known[3])
    reach = sigma * WIDER if completing else sigma
    if completing:
        # Searched, not sorted: there are a hundred times as many cells as confident ones, and a
        # person lacks few keypoints.
        rows = _all_rows(x, y, reach, along, all_cells, bumps)
    else:
        rows = _confident_rows(x, reach, along, confident, 2 * len(all_cells[2]), bumps)
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
def _confident_rows(x, reach, along, confident, directions, bumps):  # type: ignore[no-untyped-def]
    """Return a direction's rows in the columns within reach of x."""
    rows, columns_begin = confident
    stride = bumps[-1]
    columns = (len(columns_begin) - 1) // directions
    first = columns_begin[along * columns + column_of(x - reach, columns, stride)]
    last = columns_begin[along * columns + column_of(x + reach, columns, stride) + 1]
    return rows[first:last]


@numba.njit(cache=True)
def _all_rows(x, y, reach, along, all_cells, bumps):  # type: ignore[no-untyped-def]
    """Return a direction's rows that start within reach, down to the confidence for completion."""
    fields, positions, limbs = all_cells
    m, back = along // 2, along % 2
    starts_x, starts_y = fields[m, 1 + 2 * back], fields[m, 2 + 2 * back]
    near = np.zeros(len(starts_x), np.bool_)
    count = 0
    for n in range(len(near)):
        dx = starts_x[n] * positions[2, n] + positions[0, n] - x
        dy = starts_y[n] * positions[2, n] + positions[1, n] - y
        near[n] = (abs(dx) <= reach) & (abs(dy) <= reach)
        count += near[n]
    rows, cell = np.empty((count, 6)), np.empty(fields.shape[1])
    count = 0
    for n in range(len(near)):
        if (
            near[n]
            and read_cell(cell, fields, positions, m, n)
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
    """Return people without the keypoints that a better person occupies, best first.

    People whose mean score is then too low are dropped.
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
                poses[p, k, 2] = 0  # its x and y are kept, as published


def _poses(people: Floats, layout: FieldLayout) -> FieldPoses:
    weights = np.array(layout.score_weights)
    descending = -np.sort(-people[..., 2], 1)
    scores = descending @ (weights / weights.sum())
    return FieldPoses(people, people[..., 2].mean(1), scores)
