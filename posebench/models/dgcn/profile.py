"""DGCN's profile: what figures and the oracle need to know, the same as for PifPaf."""

from __future__ import annotations

from posebench.models.pifpaf.profile import PROFILE

__all__ = ["PROFILE"]
