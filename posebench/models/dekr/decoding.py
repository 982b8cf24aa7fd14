"""From DEKR's maps to people: centres, the poses regressed there, suppression by heat scores.

On a device everything is read from the maps at their own size and packed into one tensor, which is
copied once for a batch; the people are chosen from it on the CPU.

Shapes: B images, S scales, N candidates of one image (30 for each scale), K keypoints, H x W cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.layers.centres import MAX_CENTRES, MIN_CENTRE_SCORE, best_peaks
from posebench.layers.precision import no_autocast, to_float32
from posebench.models.dekr.recipes import STRIDE, DEKRConfig
from posebench.models.dekr.rescoring import ScoringNet
from posebench.structures import Geometry, PosePredictions
from posebench.transfer import index_on, to_host

MAX_PEOPLE = 30  # per image, after suppression

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DEKROutputs:
    """What DEKR predicts for a batch; maps are raw, without activation."""

    heatmaps: Tensor  # (B, K + 1, H, W), the last channel is the person centre
    offsets: Tensor  # (B, 2 K, H, W) x, y of each keypoint: the cell minus the keypoint, in cells
    # Of the same images at other scales; sizes of maps tell the scales relative to the first.
    others: tuple[DEKROutputs, ...] = ()

    @property
    def scales(self) -> tuple[DEKROutputs, ...]:
        """The outputs of each scale, largest first, which is the published order of candidates."""
        everyone = (self, *self.others)
        return tuple(sorted(everyone, key=lambda own: own.heatmaps.shape[-1], reverse=True))


@dataclass(frozen=True)
class Candidates:
    """The centres of one image, those of the largest scale first, best first in each scale."""

    cells: Ints  # (N, 2) y, x in the maps of their scale
    scale: Floats  # (N,) of their maps, relative to the first scale
    centre_scores: Floats  # (N,) of the centre map
    poses: Floats  # (N, K, 2) x, y in pixels of the first scale's network input
    heat: Floats  # (N, K) of the keypoints' heatmaps at the poses

    @property
    def heat_scores(self) -> Floats:
        """(N,) the mean heat of a pose, by which poses of one person are compared."""
        scores: Floats = self.heat.mean(1)
        return scores


def merge_mirrored(
    upright: DEKROutputs, mirrored: DEKROutputs, flip_index: Sequence[int]
) -> DEKROutputs:
    """Return the mean of the outputs for images and for their mirror images, at one scale.

    Poses, not offsets, are averaged.

    Args:
        upright: of the images.
        mirrored: of the mirrored images, in their own cells, left and right not exchanged.
        flip_index: exchanges left and right keypoints.
    """
    with_centre = index_on([*flip_index, len(flip_index)], mirrored.heatmaps.device)
    order = with_centre[:-1]
    heatmaps = mirrored.heatmaps.flip(-1)[:, with_centre]
    # The cell mirrors too, so that of an offset only x changes its sign.
    x, y = (mirrored.offsets[:, axis::2].flip(-1)[:, order] for axis in (0, 1))
    offsets = torch.stack([-x, y], 2).flatten(1, 2)
    return DEKROutputs((upright.heatmaps + heatmaps) / 2, (upright.offsets + offsets) / 2)


def decode_people(
    outputs: DEKROutputs,
    geometry: Geometry,
    config: DEKRConfig,
    scoring: ScoringNet | None = None,
) -> list[PosePredictions]:
    """Return each image's people in image pixels, best first, on the CPU.

    Args:
        outputs: of one or several scales, merged with those of the mirrored images.
        geometry: of the first scale.
        config: suppression, the weight of other scales, matching to peaks.
        scoring: multiplies the scores by the OKS that it expects; None: the scores stay.
    """
    candidates, enlarged = find_candidates(outputs, whole_maps=config.match_peaks)
    found = []
    for image, own in enumerate(candidates):
        people, keypoint_scores = select_people(own, config)
        if enlarged is not None:
            # Compiled by numba, which takes long to import.
            from posebench.models.dekr.matching import match_to_peaks

            people = match_to_peaks(people, keypoint_scores, enlarged[image])
        matrix = geometry.to_image[image].double().numpy()
        found.append((people @ matrix[:, :2].T + matrix[:, 2], keypoint_scores))
    scores_of = [keypoint_scores.mean(1) for _, keypoint_scores in found]
    if scoring is not None:
        scores_of = scoring.rescored(found, scores_of)
    decoded = []
    for (people, keypoint_scores), scores in zip(found, scores_of, strict=True):
        best = np.argsort(-scores, kind="stable")
        decoded.append(
            PosePredictions(
                torch.from_numpy(people[best]).float(),
                torch.from_numpy(keypoint_scores[best]).float(),
                torch.from_numpy(scores[best]).float(),
            )
        )
    return decoded


def find_candidates(
    outputs: DEKROutputs, *, whole_maps: bool = False
) -> tuple[list[Candidates], NDArray[np.float32] | None]:
    """Return each image's candidates, and the enlarged heatmaps (B, K, STRIDE H, STRIDE W).

    Both come from the device in one copy.

    Args:
        outputs: of the images.
        whole_maps: whether more is read of the heatmaps than their values at the poses; otherwise
            they are None.
    """
    scales = outputs.scales
    packed = torch.cat([_pack_scale(own, outputs) for own in scales], 1)
    maps = [enlarged_heatmaps(outputs)] if whole_maps else []
    packed, *maps = to_host([packed, *maps])
    rows = packed.double().numpy()
    slots = [min(MAX_CENTRES, own.heatmaps[0, 0].numel()) for own in scales]
    relative = np.repeat([_scale(own, outputs) for own in scales], slots)
    candidates = []
    for own_rows in rows:
        found = own_rows[:, 0] > MIN_CENTRE_SCORE
        people = own_rows[found]
        poses = np.stack([people[:, 3::3], people[:, 4::3]], 2)
        candidates.append(
            Candidates(
                cells=people[:, 1:3].astype(int),
                scale=relative[found],
                centre_scores=people[:, 0],
                poses=poses,
                heat=people[:, 5::3],
            )
        )
    return candidates, maps[0].numpy() if maps else None


def _pack_scale(own: DEKROutputs, outputs: DEKROutputs) -> Tensor:
    """Return 30 slots (B, 30, 3 + 3 K) of one scale, whether they are people or not.

    A slot is the centre's score, its y and x in cells, and x, y and heat of each keypoint.
    """
    scores, cells = best_peaks(to_float32(own.heatmaps[:, -1]))
    width = own.heatmaps.shape[-1]
    x, y = cells % width, cells.div(width, rounding_mode="floor")
    at = cells[:, None].expand(-1, own.offsets.shape[1], -1)
    offsets = to_float32(own.offsets).flatten(2).gather(2, at).mT
    offsets = offsets.reshape(*offsets.shape[:2], -1, 2)
    poses = torch.stack([x, y], -1)[:, :, None] - offsets  # (B, 30, K, 2) in cells
    # A cell lies at the pixel STRIDE times its number, without half a cell.
    poses = poses * (STRIDE / _scale(own, outputs))
    heat = heat_at(outputs, poses)
    keypoints = torch.cat([poses, heat[..., None]], -1).flatten(2)
    return torch.cat([scores[..., None], torch.stack([y, x], -1).to(keypoints), keypoints], -1)


def _scale(own: DEKROutputs, outputs: DEKROutputs) -> float:
    """Return the scale of maps relative to that of the first ones."""
    return own.heatmaps.shape[-1] / outputs.heatmaps.shape[-1]


def heat_at(outputs: DEKROutputs, poses: Tensor) -> Tensor:
    """Return the heat (B, N, K) of keypoints: the values of `enlarged_heatmaps` at their pixels.

    Args:
        poses: (B, N, K, 2) x, y in pixels of the first scale's network input; keypoints outside
            read the border.
    """
    height, width = (STRIDE * side for side in outputs.heatmaps.shape[-2:])
    pixels = poses.floor().nan_to_num()
    x, y = pixels[..., 0].clamp(0, width - 1), pixels[..., 1].clamp(0, height - 1)
    read = [_bilinear(own, x * step, y * step) for own, step in _steps(outputs)]
    return torch.stack(read).mean(0)


def _bilinear(own: DEKROutputs, x: Tensor, y: Tensor) -> Tensor:
    """Return the heatmaps (B, N, K) at x, y (B, N, K) in cells; the last cell repeats beyond it."""
    maps = to_float32(own.heatmaps[:, :-1])
    height, width = maps.shape[-2:]
    flat = maps.flatten(2).mT  # (B, H W, K)
    x, y = x.clamp(max=width - 1), y.clamp(max=height - 1)
    left, top = x.floor(), y.floor()
    across, down = x - left, y - top
    column, row = left.long(), top.long()
    right, below = (column + 1).clamp(max=width - 1), (row + 1).clamp(max=height - 1)

    def at(rows: Tensor, columns: Tensor) -> Tensor:
        return flat.gather(1, rows * width + columns)

    upper = at(row, column) * (1 - across) + at(row, right) * across
    lower = at(below, column) * (1 - across) + at(below, right) * across
    return upper * (1 - down) + lower * down


def enlarged_heatmaps(outputs: DEKROutputs) -> Tensor:
    """Return the keypoints' heatmaps (B, K, STRIDE H, STRIDE W) at the network input's size.

    They are the mean over all scales, and cell (y, x) lies exactly at the pixel (r y, r x), where r
    is the number of pixels of a cell; beyond the last cell they repeat it. Only drawing and
    matching need them whole: `heat_at` reads single pixels.
    """
    height, width = (STRIDE * side for side in outputs.heatmaps.shape[-2:])
    enlarged = []
    for own, step in _steps(outputs):
        maps = to_float32(own.heatmaps[:, :-1])
        rows = _interpolation(height, step, maps.shape[-2], maps)
        columns = _interpolation(width, step, maps.shape[-1], maps)
        with no_autocast(maps.device):
            enlarged.append(rows @ maps @ columns.T)
    return torch.stack(enlarged).mean(0)


def _steps(outputs: DEKROutputs) -> list[tuple[DEKROutputs, float]]:
    """Return each scale with the cells of its maps for one pixel of the first scale's input."""
    everyone = (outputs, *outputs.others)
    return [(own, _scale(own, outputs) / STRIDE) for own in everyone]


def _interpolation(pixels: int, step: float, cells: int, like: Tensor) -> Tensor:
    """Return the weights (pixels, cells) of cells at pixels, `step` cells apart."""
    at = (torch.arange(pixels, device=like.device) * step).clamp(max=cells - 1)
    distance = at[:, None] - torch.arange(cells, device=like.device)
    return (1 - distance.abs()).clamp(min=0).to(like)


def select_people(candidates: Candidates, config: DEKRConfig) -> tuple[Floats, Floats]:
    """Return the poses (P, K, 2) that suppression keeps, and their keypoint scores (P, K).

    A keypoint's score is the centre's score times the keypoint's heat; a person's is their mean.
    The order is the published one: that in which suppression keeps them or, of more than 30, that
    of their heat scores.
    """
    # Compiled by numba, which takes long to import.
    from posebench.models.dekr.suppression import kept

    heat_scores = candidates.heat_scores
    close = config.nms_keypoints
    # No pair of poses has that many keypoints: half of them then, as the authors' 8 of 17, 7 of 14.
    if close >= candidates.poses.shape[1]:
        close = candidates.poses.shape[1] // 2
    people = kept(candidates.poses, heat_scores, config.nms_distance, close)
    if len(people) > MAX_PEOPLE:
        people = people[np.argsort(-heat_scores[people], kind="stable")[:MAX_PEOPLE]]
    centre_scores = comparable_scores(candidates, config.other_scale_factor)
    return candidates.poses[people], centre_scores[people, None] * candidates.heat[people]


def comparable_scores(candidates: Candidates, factor: float) -> Floats:
    """Return centre scores (N,) with those of other scales brought to the first scale's height.

    Args:
        factor: of the scores of other scales.

    Source: the published code; the largest score of a scale becomes that of the first one times
    the factor.
    """
    scores = candidates.centre_scores.copy()
    first = candidates.scale == 1
    highest = scores[first].max() if first.any() else 1.0
    for scale in np.unique(candidates.scale[~first]):
        own = candidates.scale == scale
        scores[own] *= highest * factor / scores[own].max()
    return scores
