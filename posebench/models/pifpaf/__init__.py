"""PifPaf: Composite Fields for Human Pose Estimation (Kreiss et al., CVPR 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.pifpaf.recipes import RECIPES, PifPafConfig

if TYPE_CHECKING:
    from posebench.models.pifpaf.model import PifPaf
    from posebench.models.pifpaf.profile import PROFILE

__all__ = ["PROFILE", "RECIPES", "PifPaf", "PifPafConfig"]

__getattr__ = lazy_names(__name__, model=("PifPaf",), profile=("PROFILE",))
