"""Cards: numbers that can be handed on, and checked by whoever gets them.

`make_card` writes the card of a run, `check_card` scores and predicts again what one says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.bench.cards.checking import CardCheck, check_card
    from posebench.bench.cards.making import make_card

__all__ = ["CardCheck", "check_card", "make_card"]

__getattr__ = lazy_names(__name__, checking=("CardCheck", "check_card"), making=("make_card",))
