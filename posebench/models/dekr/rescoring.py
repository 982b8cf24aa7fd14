"""DEKR's scoring net: the OKS that a pose can expect, from its shape and its keypoint scores.

Its published weights are read; it is not trained here.

Shapes: P people, K keypoints, L links, F = 3 L + K features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from posebench.errors import ModelError
from posebench.layers.precision import no_autocast
from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from posebench.transfer import to_device, to_host

HIDDEN = 256
# Pairs of keypoints by the skeleton's name. Their order is that of the published weights.
LINKS = {
    COCO.name: (
        (0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (5, 11), (6, 8),
        (6, 12), (7, 9), (8, 10), (11, 12), (11, 13), (12, 14), (13, 15), (14, 16),
    ),
    CROWDPOSE.name: (
        (12, 13), (13, 0), (13, 1), (0, 2), (1, 3), (2, 4), (3, 5), (0, 6), (1, 7), (6, 8), (7, 9),
        (8, 10), (9, 11), (6, 7), (0, 1),
    ),
}  # fmt: skip
# The links whose mean length is the unit: the sides of COCO's torso. For CrowdPose, as published,
# they are the left thigh and shin.
UNIT = [9, 11]
MIN_UNIT = 1.0  # image pixels; shorter units are not used

Floats = NDArray[np.float64]


class ScoringNet(nn.Module):
    """A perceptron with two hidden layers, whose parameters are frozen."""

    def __init__(self, skeleton: Skeleton) -> None:
        """Create the net with random weights.

        Raises:
            ModelError: there are no published links of this keypoint set.
        """
        super().__init__()
        if skeleton.name not in LINKS:
            raise ModelError(
                f"DEKR's scoring net knows the keypoints of {' and '.join(LINKS)}, not of "
                f"{skeleton.name}: leave out rescore=true."
            )
        self.links = LINKS[skeleton.name]
        features = 3 * len(self.links) + len(skeleton)
        self.layers = nn.Sequential(
            nn.Linear(features, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 1),
        )
        self.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the expected OKS (P,) from features (P, F)."""
        expected: Tensor = self.layers(features)[:, 0]
        return expected

    @torch.inference_mode()
    def rescored(
        self, people: Sequence[tuple[Floats, Floats]], scores: Sequence[Floats]
    ) -> list[Floats]:
        """Return each image's scores (P,) times the expected OKS, which may be negative.

        A batch goes to the net's device in one copy, and comes back in one.

        Args:
            people: of each image, keypoints (P, K, 2) x, y in image pixels, and their scores
                (P, K).
            scores: (P,) of each image.
        """
        weights = next(self.parameters())
        features = [
            pose_features(torch.from_numpy(poses), torch.from_numpy(heat), self.links).to(
                weights.dtype
            )
            for poses, heat in people
        ]
        with no_autocast(weights.device):
            expected = [
                self(own).nan_to_num(0.0, torch.inf, -torch.inf)
                for own in to_device(features, weights.device)
            ]
        factors = [own.double().numpy() for own in to_host(expected)]
        return [own * factor for own, factor in zip(scores, factors, strict=True)]


def pose_features(
    keypoints: Tensor, keypoint_scores: Tensor, links: tuple[tuple[int, int], ...]
) -> Tensor:
    """Return the features (P, F) of poses: links, their lengths, and keypoint scores.

    Args:
        keypoints: (P, K, 2) x, y in image pixels.
        keypoint_scores: (P, K).
        links: pairs of keypoints.

    Source: the published code.
    """
    first, second = torch.tensor(links, device=keypoints.device).unbind(1)
    steps = keypoints[:, first] - keypoints[:, second]  # (P, L, 2)
    lengths = steps.norm(dim=2)
    unit = lengths[:, UNIT].mean(1)
    unit = unit.where(unit >= MIN_UNIT, 1.0)[:, None]
    return torch.cat([(steps / unit[..., None]).flatten(1), lengths / unit, keypoint_scores], 1)
