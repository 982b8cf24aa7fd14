"""PoseDet's decoding: the best candidates of each level, suppressed by the OKS of their poses.

Shapes: B images, N candidates or people, K keypoints, P candidates of all levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.layers.affine import apply
from posebench.layers.precision import to_float32
from posebench.models.posedet.recipes import PoseDetConfig
from posebench.models.posedet.targets import poses_from_offsets, published_area
from posebench.structures import Geometry, PosePredictions, Skeleton

MIN_SCORE = 0.05
MAX_PER_LEVEL = 500  # candidates before suppression
MAX_DETECTIONS = 100
MIN_AREA = 32.0**2  # square pixels, of a pose in suppression


@dataclass(frozen=True)
class Candidates:
    """The candidates of one image before suppression, level by level, best first in each."""

    keypoints: Tensor  # (N, K, 2) image pixels
    coarse: Tensor  # (N, K, 2) image pixels, where the pose embedding was sampled
    scores: Tensor  # (N,)


@dataclass(frozen=True)
class PoseDetOutputs:
    logits: tuple[Tensor, ...]  # (B, 1, h, w) of each level
    coarse: tuple[Tensor, ...]  # (B, 2K, h, w) offsets of each level
    refined: tuple[Tensor, ...]  # (B, 2K, h, w) offsets from the candidate, not from coarse poses
    # For each further view of the images, mirrored or scaled, the candidates of each image
    further: tuple[list[Candidates], ...] = ()


def best_candidates(logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return scores (B, N) and numbers (B, N) among P of the best candidates of each level.

    Args:
        logits: (B, 1, h, w) of the levels.
    """
    scores, numbers = [], []
    first = 0
    for level in logits:
        values = to_float32(level).sigmoid().flatten(1)
        best = values.topk(min(MAX_PER_LEVEL, values.shape[1]))
        scores.append(best.values)
        numbers.append(first + best.indices)
        first += values.shape[1]
    return torch.cat(scores, 1), torch.cat(numbers, 1)


def read_candidates(
    outputs: PoseDetOutputs,
    geometry: Geometry,
    strides: Sequence[int],
    skeleton: Skeleton,
    *,
    read_coarse: bool = False,
    mirrored: bool = False,
) -> list[Candidates]:
    """Return the best candidates of each image that reach the least score.

    Args:
        outputs: of one view.
        geometry: of the images that are not mirrored.
        strides: of the levels.
        skeleton: without the torso point.
        read_coarse: whether people have their coarse poses.
        mirrored: whether the view is mirrored.
    """
    scores, numbers = best_candidates(outputs.logits)
    rows = torch.arange(len(numbers), device=numbers.device)[:, None]
    offsets = outputs.coarse if read_coarse else outputs.refined
    keypoints, coarse = (
        poses_from_offsets(levels, strides)[rows, numbers] for levels in (offsets, outputs.coarse)
    )
    candidates = []
    for image, (width, height) in enumerate(geometry.sizes.tolist()):
        good = scores[image] > MIN_SCORE
        own, own_coarse = keypoints[image, good], coarse[image, good]
        # As published, people are clamped to the image, and their coarse poses are not.
        own = own.clamp(min=0).minimum(own.new_tensor([width, height]))
        if mirrored:
            own, own_coarse = (mirror_poses(poses, width, skeleton) for poses in (own, own_coarse))
        to_image = geometry.to_image[image].to(own)
        candidates.append(
            Candidates(apply(own, to_image), apply(own_coarse, to_image), scores[image, good])
        )
    return candidates


def mirror_poses(keypoints: Tensor, width: float, skeleton: Skeleton) -> Tensor:
    """Return the poses (N, K, 2) on the mirror image of an image of this width; K may have a torso.

    The published code does this in the original image's pixels with the resized image's width,
    which is right where the two are of one size; here it is done before poses are scaled back.
    """
    order = [*skeleton.flip_index, *range(len(skeleton), keypoints.shape[1])]
    return torch.stack([width - keypoints[..., 0], keypoints[..., 1]], -1)[:, order]


def people_of_views(
    views: Sequence[list[Candidates]], config: PoseDetConfig, skeleton: Skeleton
) -> list[tuple[PosePredictions, Tensor]]:
    """Return each image's people, and their coarse poses (N, K, 2) in image pixels.

    The candidates of all views of an image compete in one suppression (Sec. 4.1).
    """
    decoded = []
    for candidates in zip(*views, strict=True):
        keypoints = torch.cat([own.keypoints for own in candidates])[:, : len(skeleton)]
        coarse = torch.cat([own.coarse for own in candidates])
        scores = torch.cat([own.scores for own in candidates])
        keep = suppress(keypoints, scores, config, skeleton)
        # The published code has no scores of keypoints.
        certain = torch.ones_like(keypoints[keep, :, 0])
        decoded.append((PosePredictions(keypoints[keep], certain, scores[keep]), coarse[keep]))
    return decoded


def suppress(
    keypoints: Tensor, scores: Tensor, config: PoseDetConfig, skeleton: Skeleton
) -> Tensor:
    """Return the indices to keep of people (N, K, 2), without torso points, best first.

    Source: Sec. 3.2; the area of a pose, and its lower bound, from the published code.
    """
    from posebench.layers.nms import box_nms, oks_nms, pose_area  # numba

    if config.nms == "iou":
        return box_nms(keypoints, scores, config.nms_threshold, limit=MAX_DETECTIONS)
    area = published_area(pose_area(keypoints).clamp(min=MIN_AREA))
    return oks_nms(
        keypoints,
        scores,
        torch.tensor(skeleton.sigmas),
        config.nms_threshold,
        area=area,
        limit=MAX_DETECTIONS,
    )
