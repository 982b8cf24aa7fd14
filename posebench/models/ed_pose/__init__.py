"""ED-Pose: explicit box detection for end-to-end pose estimation (Yang et al., ICLR 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.ed_pose.recipes import RECIPES, EDPoseConfig

if TYPE_CHECKING:
    from posebench.models.ed_pose.model import EDPose
    from posebench.models.ed_pose.profile import PROFILE

__all__ = ["PROFILE", "RECIPES", "EDPose", "EDPoseConfig"]

__getattr__ = lazy_names(__name__, model=("EDPose",), profile=("PROFILE",))
