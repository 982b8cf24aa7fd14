"""Group Pose's outputs, of images and of their mirror images.

Shapes: B images, N predicted people of an image, K keypoints, T queries of a person, C channels, S
tokens of the pyramid, D decoder layers. Keypoints are x, y as shares of the image without padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from posebench.layers.deformable import Tokens
from posebench.layers.set_decoding import mirrored_back
from posebench.models.group_pose.detection import DetectedBoxes
from posebench.skeleton import Skeleton
from posebench.structures import Batch
from posebench.transfer import index_on


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


def mirror_back(outputs: GroupPoseOutputs, batch: Batch, skeleton: Skeleton) -> GroupPoseOutputs:
    """Return the predictions on a batch's mirrored images in coordinates of the batch's images."""
    order = index_on(skeleton.flip_index, outputs.keypoints.device)

    def back(keypoints: Tensor) -> Tensor:  # (..., B, N, K, 2)
        return mirrored_back(keypoints[..., order, :], batch.geometry)

    return replace(
        outputs,
        keypoints=back(outputs.keypoints),
        proposal_keypoints=back(outputs.proposal_keypoints),
        views=tuple(replace(view, mirrored=True) for view in outputs.views),
    )
