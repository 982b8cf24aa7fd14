"""HigherHRNet: Scale-Aware Representation Learning (Cheng et al., CVPR 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.higher_hrnet.recipes import RECIPES, HigherHRNetConfig
from posebench.models.higher_hrnet.studies import STUDIES

if TYPE_CHECKING:
    from posebench.models.higher_hrnet.model import HigherHRNet
    from posebench.models.higher_hrnet.profile import PROFILE

__all__ = ["PROFILE", "RECIPES", "STUDIES", "HigherHRNet", "HigherHRNetConfig"]

__getattr__ = lazy_names(__name__, model=("HigherHRNet",), profile=("PROFILE",))
