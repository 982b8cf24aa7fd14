"""The scoring net of DEKR: the OKS that a pose can expect, from its shape and keypoint scores.

Its published weights are read; it is not trained here.

Shapes: P people, K keypoints, L links, F = 3 L + K features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from posebench.skeleton import Skeleton

Floats = NDArray[np.float64]

HIDDEN = 256
MIN_LENGTH = 1.0  # pixels: poses whose lengths are shorter are not normalised
# Links 9 and 11 (from 0) set the unit of length: the sides of COCO's torso; for CrowdPose, whose
# links are fewer, the left thigh and shin, although the published comment says torso.
UNIT_LINKS = (9, 11)


class ScoringNet(nn.Module):
    """A perceptron of three layers, whose parameters are frozen."""

    def __init__(self, skeleton: Skeleton) -> None:
        """Create the net.

        Raises:
            ModelError: nobody published links for this keypoint set.
        """
        super().__init__()
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Return the expected OKS (P,) of features (P, F)."""
        raise NotImplementedError

    def rescored(self, keypoints: Floats, keypoint_scores: Floats, scores: Floats) -> Floats:
        """Return the scores (P,) times the expected OKS of the people.

        Args:
            keypoints: (P, K, 2) x, y in image pixels.
            keypoint_scores: (P, K).
            scores: (P,).
        """
        raise NotImplementedError
