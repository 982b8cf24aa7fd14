"""From HigherHRNet's maps to people: peaks, grouping by tags, refinement of each person.

Shapes: B images, K keypoints, T tags of a pixel (two with the mirrored image), H x W network input,
h x w cells of a resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.models.higher_hrnet.grouping import Floats32, find_candidates, group
from posebench.structures import PosePredictions

# COCO's keypoints from the head outwards. For CrowdPose the published code takes those of these
# numbers that are below 14; they do not fit its keypoints.
GROUPING_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


@dataclass(frozen=True)
class HigherHRNetOutputs:
    """What HigherHRNet predicts for a batch; maps are raw, without activation."""

    heatmaps: tuple[Tensor, ...]  # (B, K, h, w) at strides 4, 2, ...; merged scales: one at 1
    tags: Tensor  # (B, K, T, h, w) of the coarsest heatmaps' size
    size: tuple[int, int]  # H, W


def decode_image(heatmaps: Tensor, tags: Tensor, to_image: Tensor) -> PosePredictions:
    """Return one image's people, best first, from maps on the CPU.

    Args:
        heatmaps: (K, H, W) at the network input's size.
        tags: (K, T, H, W).
        to_image: (2, 3) affine from network-input pixels to image pixels.

    Source: the published code: a person's score is the mean over all keypoints before missing
    ones are filled in.
    """
    # Imported here, since numba takes longer to import than everything else in the model.
    from posebench.models.higher_hrnet.refinement import adjust, refine

    heatmaps, tags = heatmaps.float(), tags.float()
    people, people_tags = group(find_candidates(heatmaps, tags), grouping_order(len(heatmaps)))
    if not len(people):
        return nobody(len(heatmaps))
    own_heatmaps, own_tags = heatmaps.numpy(), tags.contiguous().numpy()
    means = np.stack([own.mean(0) for own in people_tags])
    refined = refine(adjust(people, own_heatmaps), means, own_heatmaps, own_tags)
    return ranked(refined, people[..., 2].mean(1), to_image)


def grouping_order(keypoints: int) -> tuple[int, ...]:
    """Return the indices of that many keypoints in the order in which they are grouped."""
    return tuple(k for k in GROUPING_ORDER if k < keypoints)


def nobody(keypoints: int) -> PosePredictions:
    """Return the predictions of an image without people."""
    empty = torch.zeros(0, keypoints)
    return PosePredictions(empty[..., None].expand(-1, -1, 2), empty, torch.zeros(0))


def ranked(people: Floats32, scores: Floats32, to_image: Tensor) -> PosePredictions:
    """Return people (P, K, 3 + T), in network-input pixels, in image pixels, best first."""
    best = np.argsort(-scores, kind="stable")
    decoded = torch.from_numpy(people[best])
    matrix = to_image.to(decoded.dtype)
    keypoints = decoded[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    return PosePredictions(keypoints, decoded[..., 2], torch.from_numpy(scores[best]))


def resize_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (B, K, h, w) resized bilinearly to a size h, w."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, list(size), mode="bilinear", align_corners=False)


def resize_tags(tags: Tensor, size: Sequence[int]) -> Tensor:
    """Return tags (B, K, T, h, w) resized bilinearly to a size h, w."""
    return resize_maps(tags.flatten(1, 2), size).view(*tags.shape[:3], *size)
