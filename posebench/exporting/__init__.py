"""Networks as files of other runtimes: written, checked, read and run.

An exported file holds the network alone, with its recipe, its test settings and what else decoding
needs as metadata; images are resized and people decoded by posebench as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.exporting.card import Card, is_exported
    from posebench.exporting.checking import Agreement, compare
    from posebench.exporting.files import open_session, read_card, write_network
    from posebench.exporting.network import exported_network
    from posebench.exporting.program import NetworkInputs

__all__ = [
    "Agreement",
    "Card",
    "NetworkInputs",
    "compare",
    "exported_network",
    "is_exported",
    "open_session",
    "read_card",
    "write_network",
]

__getattr__ = lazy_names(
    __name__,
    card=("Card", "is_exported"),
    checking=("Agreement", "compare"),
    files=("open_session", "read_card", "write_network"),
    network=("exported_network",),
    program=("NetworkInputs",),
)
