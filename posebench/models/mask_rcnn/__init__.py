"""Mask R-CNN with keypoint heads (He et al., ICCV 2017): torchvision's, as a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.mask_rcnn.recipes import RECIPES, MaskRCNNConfig

if TYPE_CHECKING:
    from posebench.models.mask_rcnn.model import MaskRCNN
    from posebench.models.mask_rcnn.profile import PROFILE

__all__ = ["PROFILE", "RECIPES", "MaskRCNN", "MaskRCNNConfig"]

__getattr__ = lazy_names(__name__, model=("MaskRCNN",), profile=("PROFILE",))
