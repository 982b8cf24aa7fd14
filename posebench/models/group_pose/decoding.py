"""Group Pose's outputs, merged over views and decoded to people.

Shapes: B images, N predicted people of an image, K keypoints, T queries of a person, C channels, S
tokens of the pyramid, D decoder layers. Keypoints are x, y as shares of the image without padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from posebench.layers.affine import apply
from posebench.layers.deformable import Tokens
from posebench.layers.matching import PERSON
from posebench.layers.nms import oks_nms
from posebench.models.group_pose.detection import DetectedBoxes
from posebench.skeleton import Skeleton
from posebench.structures import Batch, Geometry, PosePredictions

POSES_KEPT = 50  # of an image, at test time
SAME_PERSON = 0.7  # OKS above which poses of two views are one person; ours, for several views only
VISIBILITY = 1.0 / (1.0 + math.exp(-1.0))  # the published score of every keypoint


@dataclass(frozen=True)
class View:
    """The network's inner values for one view of the images: at a scale, perhaps mirrored."""

    tokens: Tokens
    token_logits: Tensor  # (B, S, 2)
    references: Tensor  # (D + 1, B, N, K, 2), from the proposals to the last layer's keypoints
    queries: Tensor  # (B, N, T, C), as they enter the last layer's cross-attention
    mirrored: bool = False


@dataclass(frozen=True)
class GroupPoseOutputs:
    """Predictions: of every layer in training mode, of the last layer alone otherwise.

    Predictions of several views of an image lie one after the other along N.
    """

    logits: Tensor  # (D, B, N, 2), float32
    keypoints: Tensor  # (D, B, N, K, 2), float32
    proposal_logits: Tensor  # (B, N, 2), of the encoder's selected tokens
    proposal_keypoints: Tensor  # (B, N, K, 2), the decoder's first references
    detected: DetectedBoxes | None = None
    views: tuple[View, ...] = ()  # none: ideal outputs, and those of an exported network
    merged: int = 1  # number of views that the predictions are of


def merge_views(outputs: Sequence[GroupPoseOutputs]) -> GroupPoseOutputs:
    """Return the predictions of several views of the same images as one set."""
    if len(outputs) == 1:
        return outputs[0]
    return GroupPoseOutputs(
        logits=torch.cat([one.logits for one in outputs], 2),
        keypoints=torch.cat([one.keypoints for one in outputs], 2),
        proposal_logits=torch.cat([one.proposal_logits for one in outputs], 1),
        proposal_keypoints=torch.cat([one.proposal_keypoints for one in outputs], 1),
        views=tuple(view for one in outputs for view in one.views),
        merged=len(outputs),
    )


def mirror_back(outputs: GroupPoseOutputs, batch: Batch, skeleton: Skeleton) -> GroupPoseOutputs:
    """Return the predictions on a batch's mirrored images in coordinates of the batch's images."""
    order = list(skeleton.flip_index)
    # Pixel x of an image lies at w - 1 - x of its mirror image.
    edge = (1 - 1 / batch.geometry.sizes[:, 0])[:, None, None].to(outputs.keypoints)

    def back(keypoints: Tensor) -> Tensor:  # (..., B, N, K, 2)
        x, y = keypoints[..., order, :].unbind(-1)
        return torch.stack([edge - x, y], -1)

    return replace(
        outputs,
        keypoints=back(outputs.keypoints),
        proposal_keypoints=back(outputs.proposal_keypoints),
        views=tuple(replace(view, mirrored=True) for view in outputs.views),
    )


def decode_people(
    outputs: GroupPoseOutputs, geometry: Geometry, skeleton: Skeleton
) -> list[tuple[PosePredictions, Tensor]]:
    """Return each image's people, best first, and their indices among the N predictions."""
    decoded = []
    views = outputs.merged
    for logits, keypoints, size, to_image in zip(
        outputs.logits[-1],
        outputs.keypoints[-1],
        geometry.sizes,
        geometry.to_image,
        strict=True,
    ):
        scores, labels, chosen = best_poses(logits, views)
        # A score is exactly 0 only where ideal outputs are filled up.
        is_person = (labels == PERSON) & (scores > 0)
        scores, chosen = scores[is_person], chosen[is_person]
        pixels = keypoints[chosen] * size.to(keypoints)
        pixels = apply(pixels, to_image.to(keypoints))
        if views > 1:
            sigmas = torch.tensor(skeleton.sigmas).to(pixels)
            keep = oks_nms(pixels, scores, sigmas, SAME_PERSON)[:POSES_KEPT]
            pixels, scores, chosen = pixels[keep], scores[keep], chosen[keep]
        keypoint_scores = torch.full_like(pixels[..., 0], VISIBILITY)
        decoded.append((PosePredictions(pixels, keypoint_scores, scores), chosen))
    return decoded


def best_poses(logits: Tensor, views: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores, labels and query indices of the best entries of logits (N, 2), best first.

    As published, every entry competes: a query may appear twice, once as a person and once with
    label 0, which is no class.

    Args:
        logits: of one image.
        views: `POSES_KEPT` entries are returned for each.
    """
    scores, entries = logits.sigmoid().flatten().sort(descending=True, stable=True)
    kept = entries[: views * POSES_KEPT]
    return scores[: len(kept)], kept % 2, kept // 2
