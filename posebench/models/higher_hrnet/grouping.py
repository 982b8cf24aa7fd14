"""Associative embedding: the peaks of all heatmaps are grouped into people by their tags.

Shapes: K keypoints, H x W pixels of the maps, T tags per pixel (two with the mirrored image),
N candidates of a keypoint, P people.

Source: Newell et al. (arXiv:1611.05424), as in the published HigherHRNet code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_PEOPLE = 30
MIN_SCORE = 0.1  # of a candidate
MAX_TAG_DISTANCE = 1.0  # between a candidate and the mean of its person
SUPPRESSION = 5  # pixels, side of the window whose maximum is a candidate

Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """The highest peaks of every keypoint's heatmap, best first; padded with zeros."""

    scores: Floats32  # (K, N)
    cells: NDArray[np.int64]  # (K, N, 2) x, y
    tags: Floats32  # (K, N, T)


def find_candidates(heatmaps: Tensor, tags: Tensor) -> Candidates:
    """Return the 30 best local maxima of each heatmap above the minimum score.

    Pixels are compared with one neighbour of the window after the other, and only those not below
    it with the next: most pixels need a single comparison, where max pooling reads the whole window
    of every pixel. For maps on the CPU; a GPU pools (`device_decoding`).

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
        # A neighbour beyond the border is replaced by the outermost pixel, which is in the window.
        neighbour = heatmaps[k, (y + dy).clamp(0, height - 1), (x + dx).clamp(0, width - 1)]
        highest = scores >= neighbour
        k, y, x, scores = k[highest], y[highest], x[highest], scores[highest]
    peak_tags = tags[k, :, y, x]
    best = scores.argsort(descending=True, stable=True)
    best = best[k[best].argsort(stable=True)]
    k, cells, scores = k[best], torch.stack([x, y], 1)[best], scores[best]
    first = torch.searchsorted(k, torch.arange(len(heatmaps)))
    rank = torch.arange(len(k)) - first[k]
    keep = rank < MAX_PEOPLE
    candidates = Candidates(
        np.zeros((len(heatmaps), MAX_PEOPLE), np.float32),
        np.zeros((len(heatmaps), MAX_PEOPLE, 2), np.int64),
        np.zeros((len(heatmaps), MAX_PEOPLE, tags.shape[1]), np.float32),
    )
    rows = (k[keep].numpy(), rank[keep].numpy())
    candidates.scores[rows] = scores[keep].float().numpy()
    candidates.cells[rows] = cells[keep].numpy()
    candidates.tags[rows] = peak_tags[best][keep].float().numpy()
    return candidates


def group(candidates: Candidates, order: tuple[int, ...]) -> tuple[Floats32, list[Floats32]]:
    """Group the candidates into people.

    Args:
        candidates: of all keypoints.
        order: indices of keypoints, in the order in which their candidates are assigned.

    Returns:
        People (P, K, 3 + T) x, y, score, tags, in the order in which they were started; a missing
        keypoint is all zero. Also, for each person, the tags (n, T) of its keypoints.
    """
    # Imported here, since numba takes longer to import than everything else in the model.
    from posebench.models.higher_hrnet.assignment import assign

    count, tag_size = len(candidates.scores), candidates.tags.shape[-1]
    # People are keyed by their first tag, as published: two with the same tag are one.
    people: dict[float, Floats32] = {}
    tags: dict[float, list[Floats32]] = {}
    for k in order:
        keep = candidates.scores[k] > MIN_SCORE
        if not keep.any():
            continue
        own_tags = candidates.tags[k][keep]
        # float64 from here, or costs that differ in their scores' last digits become equal.
        keypoints = np.concatenate(
            [candidates.cells[k][keep], candidates.scores[k][keep, None], own_tags], 1
        )
        owners: list[float | None] = [None] * len(keypoints)
        if people:
            keys = list(people)[:MAX_PEOPLE]
            means = np.stack([np.mean(tags[key], axis=0) for key in keys])
            distance = np.linalg.norm(keypoints[:, None, 3:] - means[None], axis=2)
            # Scores decide only among equal rounded distances. Columns of a high cost take the
            # candidates that outnumber the people.
            cost = np.round(distance) * 100 - keypoints[:, 2:3]
            extra = max(len(keypoints) - len(keys), 0)
            cost = np.pad(cost, ((0, 0), (0, extra)), constant_values=1e10)
            for row, column in assign(cost.astype(np.float64)):
                if column < len(keys) and distance[row, column] < MAX_TAG_DISTANCE:
                    owners[row] = keys[column]
        for keypoint, tag, owner in zip(keypoints, own_tags, owners, strict=True):
            if owner is None:
                owner = float(tag[0])
                people.setdefault(owner, np.zeros((count, 3 + tag_size), np.float32))
                tags[owner] = [tag]
            else:
                tags[owner].append(tag)
            people[owner][k] = keypoint
    if not people:
        return np.zeros((0, count, 3 + tag_size), np.float32), []
    return np.stack(list(people.values())), [np.stack(tags[key]) for key in people]
