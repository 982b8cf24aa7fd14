"""From CID's maps to people: peaks of the centre heatmap, keypoints per person, OKS-NMS.

Shapes: B images, M people of all images, K keypoints, C backbone channels, H x W cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.layers import centres
from posebench.layers.centres import find_peaks
from posebench.layers.nms import oks_nms
from posebench.models.cid.decoupling import people_per_chunk, people_per_image
from posebench.models.cid.recipes import STRIDE, CIDConfig
from posebench.skeleton import Skeleton
from posebench.structures import Geometry, PosePredictions
from posebench.transfer import to_host


@dataclass(frozen=True)
class CIDOutputs:
    """What CID predicts for a batch.

    On a GPU every image has 30 people, of whom those with a centre score of 0 are empty slots. All
    scores are after the sigmoid, clamped to [1e-4, 1 - 1e-4], float32.
    """

    heatmaps: Tensor  # (B, K + 1, H, W) scores, the last channel is the person centre
    people: Tensor  # (M, 3) int64: image, y, x of a centre, in cells; sorted by image
    centre_scores: Tensor  # (M,) of the smoothed centre map
    person_features: Tensor  # (M, C), Eq. 7
    instance_heatmaps: Tensor  # (M, K, H, W) scores


def find_centres(
    centre_map: Tensor, pool: int, people: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the centres (M, 3) image, y, x and their scores (M,), best first in each image.

    Args:
        centre_map: (B, H, W) scores.
        pool: side of the mean filter.
        people: (M, 3) given centres, which are returned with their scores; None: detect them.

    Source: Sec. 3.2; the published code smooths the map before it looks for peaks.
    """
    smoothed = _smooth(centre_map, pool)
    if people is None:
        return find_peaks(smoothed)
    image, y, x = people.unbind(1)
    return people, smoothed[image, y, x]


def centre_slots(centre_map: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """Return 30 centres of each image (B 30, 3) and their scores (B, 30), best first.

    The form of `find_centres` whose shapes do not depend on the image (`layers.centres`).

    Args:
        centre_map: (B, H, W) scores.
        pool: side of the mean filter.
    """
    return centres.centre_slots(_smooth(centre_map, pool))


def decode_people(
    outputs: CIDOutputs, geometry: Geometry, skeleton: Skeleton, config: CIDConfig
) -> list[tuple[PosePredictions, Tensor]]:
    """Return each image's people in image pixels, best first, and their rows in the outputs."""
    keypoints, keypoint_scores = decode_instances(
        outputs, config.centre_pool, strict_border=config.strict_border
    )
    keypoints, keypoint_scores, people, centre_scores = to_host(
        [keypoints, keypoint_scores, outputs.people, outputs.centre_scores]
    )
    rows = torch.arange(len(people))
    if outputs.people.is_cuda:  # without the slots that are empty
        [rows] = (centre_scores > 0).nonzero(as_tuple=True)
        keypoints, keypoint_scores, people = keypoints[rows], keypoint_scores[rows], people[rows]
    to_image = geometry.to_image.to(keypoints.dtype)[people[:, 0]]  # (M, 2, 3)
    keypoints = keypoints @ to_image[:, :, :2].mT + to_image[:, None, :, 2]
    counts = people_per_image(people, len(geometry.to_image))
    sigmas = torch.tensor(skeleton.sigmas)
    decoded = []
    for xy, scores, own_rows in zip(
        *(torch.split(values, counts) for values in (keypoints, keypoint_scores, rows)),
        strict=True,
    ):
        person_scores = scores.mean(1)
        keep = oks_nms(xy, person_scores, sigmas, config.nms_threshold)
        predictions = PosePredictions(xy[keep], scores[keep], person_scores[keep])
        decoded.append((predictions, own_rows[keep]))
    return decoded


def decode_instances(
    outputs: CIDOutputs, pool: int, *, strict_border: bool = False
) -> tuple[Tensor, Tensor]:
    """Return keypoints (M, K, 2) in network-input pixels and their scores (M, K).

    A keypoint is the maximum of its smoothed map, moved a quarter cell towards the higher
    neighbour along each axis; not if both are equal, nor at the border. Its score is the maximum
    times the centre's score.

    Args:
        outputs: of any number of images.
        pool: side of the mean filter.
        strict_border: as MMPose 1.x, move no keypoint of the first row or column at all, and one of
            the second along the other axis only.
    """
    instance_heatmaps = outputs.instance_heatmaps
    chunk = people_per_chunk(len(instance_heatmaps), instance_heatmaps.device)
    peaks = [
        _read_peaks(maps, pool, strict_border) for maps in torch.split(instance_heatmaps, chunk)
    ]
    cells = torch.cat([xy for xy, _ in peaks])
    heights = torch.cat([height for _, height in peaks])
    return STRIDE * cells + STRIDE / 2, heights * outputs.centre_scores[:, None]


def _read_peaks(instance_heatmaps: Tensor, pool: int, strict_border: bool) -> tuple[Tensor, Tensor]:
    """Return the peaks of (N, K, H, W) maps in cells (N, K, 2), and their heights (N, K)."""
    maps = _smooth(instance_heatmaps, pool)
    height, width = maps.shape[-2:]
    flat = maps.flatten(2)
    peak, cell = flat.max(2)
    y, x = cell // width, cell % width
    first = 1 if strict_border else 0  # the last cell before the map that stays where it is

    def quarter_step(position: Tensor, length: int, stride: int) -> Tensor:
        inner = (position > first) & (position < length - 1)
        if strict_border:
            inner &= (x > 0) & (y > 0)
        after = flat.gather(2, (cell + stride).where(inner, cell)[..., None])[..., 0]
        before = flat.gather(2, (cell - stride).where(inner, cell)[..., None])[..., 0]
        return 0.25 * (after - before).sign()

    steps = quarter_step(x, width, 1), quarter_step(y, height, width)
    return torch.stack([x + steps[0], y + steps[1]], -1), peak


def _smooth(maps: Tensor, window: int) -> Tensor:
    """Return the mean of (..., H, W) and its mean filter, which pads with zeros."""
    sums = _window_sums(_window_sums(maps, window, -1), window, -2)
    return (maps + sums / window**2) / 2


def _window_sums(values: Tensor, window: int, axis: int) -> Tensor:
    """Return the sums of windows along an axis, -1 or -2.

    Equal to average pooling, which takes seven times as long on a CPU. The two neighbours at equal
    distance are added to each other first, so that a symmetric peak has equal neighbours to the
    last bit.
    """
    reach, length = window // 2, values.shape[axis]
    padded = F.pad(values, (reach, reach) if axis == -1 else (0, 0, reach, reach))
    total = values
    for shift in range(1, reach + 1):
        before = padded.narrow(axis, reach - shift, length)
        after = padded.narrow(axis, reach + shift, length)
        total = total + (before + after)
    return total
