"""The weights that come with the package: the tiny recipes, trained on synthetic crowds.

Each lies in `posebench/weights/` as a checkpoint with parameters in half precision, beside a card
that says how it was made and what it reaches. `posebench weights pack` writes both. This module
loads without torch.
"""

from __future__ import annotations

from pathlib import Path

from posebench.card import Card, read_card_file
from posebench.errors import DataError, ModelError

FOLDER = Path(__file__).parent / "weights"

# The number of first images on which a card also states the AP, so that a copy is checked quickly.
CHECK_IMAGES = 20


def shipped_names() -> tuple[str, ...]:
    """Return the recipes whose weights come with the package, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))


def shipped_weights(recipe: str) -> Path | None:
    """Return the weights file of a recipe, or None if none comes with the package."""
    path = FOLDER / f"{recipe}.safetensors"
    return path if path.is_file() else None


def read_card(recipe: str) -> Card:
    """Return the card of a recipe whose weights come with the package.

    Raises:
        ModelError: there is no card, or it lacks a field.
    """
    path = FOLDER / f"{recipe}.json"
    try:
        return read_card_file(path)
    except DataError as error:
        raise ModelError(
            f"The card of {recipe}'s weights in the package cannot be read ({error}): install "
            "posebench again, or write it with `posebench weights pack`."
        ) from None
