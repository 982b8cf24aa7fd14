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
from posebench.skeleton import Skeleton
from posebench.structures import Geometry, PosePredictions

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
    further: tuple[View, ...] = ()  # of the images mirrored, or at other scales


@dataclass(frozen=True)
class BestCandidates:
    """The best candidates of each level, best first in each, in network-input pixels."""

    keypoints: Tensor  # (B, N, K, 2)
    coarse: Tensor  # (B, N, K, 2)
    scores: Tensor  # (B, N)


@dataclass(frozen=True)
class View:
    """The best candidates of a batch's images in one view."""

    best: BestCandidates
    geometry: Geometry  # of the images before mirroring
    mirrored: bool = False


def best_candidates(logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return scores (B, N) and indices (B, N) into P of the best candidates of each level.

    Args:
        logits: (B, 1, h, w) of the levels.
    """
    scores, indices = [], []
    first = 0
    for level in logits:
        values = to_float32(level).sigmoid().flatten(1)
        best = values.topk(min(MAX_PER_LEVEL, values.shape[1]))
        scores.append(best.values)
        indices.append(first + best.indices)
        first += values.shape[1]
    return torch.cat(scores, 1), torch.cat(indices, 1)


def gather_best(
    outputs: PoseDetOutputs, strides: Sequence[int], *, read_coarse: bool = False
) -> BestCandidates:
    """Return the best candidates of one view.

    Args:
        outputs: outputs of the view.
        strides: strides of the levels.
        read_coarse: whether to return coarse poses as keypoints, in place of refined ones.
    """
    scores, indices = best_candidates(outputs.logits)
    rows = torch.arange(len(indices), device=indices.device)[:, None]
    offsets = outputs.coarse if read_coarse else outputs.refined
    keypoints, coarse = (
        poses_from_offsets(levels, strides)[rows, indices] for levels in (offsets, outputs.coarse)
    )
    return BestCandidates(keypoints, coarse, scores)


def read_candidates(view: View, skeleton: Skeleton) -> list[Candidates]:
    """Return the candidates of each image with a score above MIN_SCORE.

    Args:
        view: on the CPU.
        skeleton: skeleton without the torso point.
    """
    candidates = []
    best, geometry = view.best, view.geometry
    for image, (width, height) in enumerate(geometry.sizes.tolist()):
        good = best.scores[image] > MIN_SCORE
        own, own_coarse = best.keypoints[image, good], best.coarse[image, good]
        # As published, keypoints are clamped to the image, and coarse poses are not.
        own = own.clamp(min=0).minimum(own.new_tensor([width, height]))
        if view.mirrored:
            own, own_coarse = (mirror_poses(poses, width, skeleton) for poses in (own, own_coarse))
        to_image = geometry.to_image[image].to(own)
        scores = best.scores[image, good]
        candidates.append(Candidates(apply(own, to_image), apply(own_coarse, to_image), scores))
    return candidates


def mirror_poses(keypoints: Tensor, width: float, skeleton: Skeleton) -> Tensor:
    """Return poses (N, K, 2) mirrored in an image of `width` pixels; K may include a torso point.

    The published code mirrors in pixels of the original image but with the width of the resized
    one, which is right only if both have the same size. We mirror before poses are scaled back.
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
        # The published code predicts no keypoint scores.
        keypoint_scores = torch.ones_like(keypoints[keep, :, 0])
        predictions = PosePredictions(keypoints[keep], keypoint_scores, scores[keep])
        decoded.append((predictions, coarse[keep]))
    return decoded


def suppress(
    keypoints: Tensor, scores: Tensor, config: PoseDetConfig, skeleton: Skeleton
) -> Tensor:
    """Return the indices of the poses (N, K, 2), without torso points, to keep, best first.

    Source: Sec. 3.2; a pose's area and its lower bound from the published code.
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
