"""Group Pose: end-to-end pose estimation with group self-attentions (Liu et al., ICCV 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.group_pose.recipes import RECIPES, GroupPoseConfig
from posebench.models.group_pose.studies import STUDIES

if TYPE_CHECKING:
    from posebench.models.group_pose.model import GroupPose
    from posebench.models.group_pose.profile import PROFILE

__all__ = ["PROFILE", "RECIPES", "STUDIES", "GroupPose", "GroupPoseConfig"]

__getattr__ = lazy_names(__name__, model=("GroupPose",), profile=("PROFILE",))
