"""DGCN: dynamic graph convolutions over keypoints, on PifPaf (Qiu et al., AAAI 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.dgcn.recipes import RECIPES, DGCNConfig
from posebench.models.dgcn.studies import STUDIES

if TYPE_CHECKING:
    from posebench.models.dgcn.model import DGCN
    from posebench.models.dgcn.profile import PROFILE

__all__ = ["DGCN", "PROFILE", "RECIPES", "STUDIES", "DGCNConfig"]

__getattr__ = lazy_names(__name__, model=("DGCN",), profile=("PROFILE",))
