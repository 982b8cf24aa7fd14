"""What ED-Pose's decoder takes and returns.

Shapes: B images, M box queries, N predicted people of an image, K keypoints, Q noise queries. D
layers, of which the first are box layers, the rest pose layers; R sets of box predictions: the
encoder's, then each box layer's. Boxes are centre x, y, width, height, and keypoints x, y, as
shares of the image without padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from posebench.layers.deformable import Tokens
from posebench.layers.set_decoding import mirrored_back
from posebench.skeleton import Skeleton
from posebench.structures import Batch
from posebench.transfer import index_on


@dataclass(frozen=True)
class Detections:
    """Boxes and their class logits, in float32."""

    logits: Tensor  # (R, B, M, 2), column 1: a person
    boxes: Tensor  # (R, B, M, 4)


@dataclass(frozen=True)
class NoiseQueries:
    """Queries of annotated boxes with noise, which go before the others in training."""

    content: Tensor  # (B, Q, C)
    boxes: Tensor  # (B, Q, 4), in [0, 1]
    sees: Tensor  # (B, Q, Q) bool, True where a noise query (row) attends to another (column)


@dataclass(frozen=True)
class View:
    """The network's inner values for one view of the images: at a scale, perhaps mirrored."""

    tokens: Tokens
    token_logits: Tensor  # (B, S, 2)
    # (pose layers + 1, B, N, K + 1, 4): boxes of people and keypoints as they enter the first pose
    # layer, then as each pose layer leaves them.
    references: Tensor
    queries: Tensor  # (B, N, K + 1, C), as they enter the last layer's cross-attention
    mirrored: bool = False


@dataclass(frozen=True)
class EDPoseOutputs:
    """Predictions: of every layer in training mode, of the last layer alone otherwise.

    Predictions of several views of an image lie one after the other along N.
    """

    logits: Tensor  # (pose layers, B, N, 2), float32
    boxes: Tensor  # (pose layers, B, N, 4), float32
    keypoints: Tensor  # (pose layers, B, N, K, 2), float32
    detected: Detections | None = None  # of the encoder and the box layers; in training only
    noise: Detections | None = None  # of the Q noise queries in all D layers; in training only
    views: tuple[View, ...] = ()  # none: ideal outputs, and those of an exported network
    merged: int = 1  # number of views that the predictions are of


def mirror_back(outputs: EDPoseOutputs, batch: Batch, skeleton: Skeleton) -> EDPoseOutputs:
    """Return the predictions on a batch's mirrored images in coordinates of the batch's images."""
    # The sides of a box with its centre are those of its mirror image.
    centres = mirrored_back(outputs.boxes[..., None, :2], batch.geometry)[..., 0, :]
    order = index_on(skeleton.flip_index, outputs.keypoints.device)
    return replace(
        outputs,
        boxes=torch.cat([centres, outputs.boxes[..., 2:]], -1),
        keypoints=mirrored_back(outputs.keypoints, batch.geometry)[..., order, :],
        views=tuple(replace(view, mirrored=True) for view in outputs.views),
    )


def with_noise(sees: Tensor | None, noise: NoiseQueries, others: int) -> Tensor:
    """Return the attention mask (B, Q + others, Q + others) of noise queries before the others.

    Noise queries see all others, and of themselves those that `noise.sees` says; the others see no
    noise queries.

    Args:
        sees: (others, others) bool, True where the others see one another; None: everywhere.
        noise: the noise queries.
        others: number of other queries.
    """
    images, count = noise.sees.shape[:2]
    if sees is None:
        sees = noise.sees.new_ones(others, others)
    above = torch.cat([noise.sees, noise.sees.new_ones(images, count, others)], 2)
    below = torch.cat([sees.new_zeros(others, count), sees], 1)
    return torch.cat([above, below.expand(images, -1, -1)], 1)
