"""DEKR: Disentangled Keypoint Regression (Geng et al., CVPR 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.dekr.recipes import RECIPES, DEKRConfig
from posebench.models.dekr.studies import STUDIES

if TYPE_CHECKING:
    from posebench.models.dekr.model import DEKR
    from posebench.models.dekr.profile import PROFILE

__all__ = ["DEKR", "PROFILE", "RECIPES", "STUDIES", "DEKRConfig"]

__getattr__ = lazy_names(__name__, model=("DEKR",), profile=("PROFILE",))
