"""PoseDet: Estimating Pose by Detection (Tian et al., FG 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.posedet.recipes import RECIPES, PoseDetConfig
from posebench.models.posedet.studies import STUDIES

if TYPE_CHECKING:
    from posebench.models.posedet.model import PoseDet
    from posebench.models.posedet.profile import PROFILE

__all__ = ["PROFILE", "RECIPES", "STUDIES", "PoseDet", "PoseDetConfig"]

__getattr__ = lazy_names(__name__, model=("PoseDet",), profile=("PROFILE",))
