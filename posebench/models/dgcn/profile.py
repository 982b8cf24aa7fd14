"""DGCN as clocks, counters, pictures and upper bounds see it: PifPaf, whose fields it reads."""

from __future__ import annotations

from posebench.models.pifpaf.profile import PROFILE

__all__ = ["PROFILE"]
