"""CID: Contextual Instance Decoupling (Wang & Zhang, CVPR 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names
from posebench.models.cid.recipes import RECIPES, CIDConfig
from posebench.models.cid.studies import STUDIES

if TYPE_CHECKING:
    from posebench.models.cid.model import CID
    from posebench.models.cid.profile import PROFILE

__all__ = ["CID", "PROFILE", "RECIPES", "STUDIES", "CIDConfig"]

__getattr__ = lazy_names(__name__, model=("CID",), profile=("PROFILE",))
