"""The weights that come with the package: the tiny recipes, trained on synthetic crowds.

Each lies in `posebench/weights/` as a checkpoint with parameters in half precision, beside a card
that says how it was made and what it reaches. `posebench weights pack` writes both. This module
loads without torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from posebench.errors import ModelError

FOLDER = Path(__file__).parent / "weights"

# The number of first images on which a card also states the AP, so that a copy is checked quickly.
CHECK_IMAGES = 20


@dataclass(frozen=True)
class Card:
    """How weights were made, and what they reach in half precision. AP are in percent."""

    recipe: str
    command: str
    commit: str  # of the code that trained
    seed: int
    hardware: str
    date: str  # of the training, ISO
    dataset: str
    split: str  # that was evaluated
    images: int  # evaluated
    tta: str  # the views that were merged, as in result tables
    ap: float
    ap_low: float  # limits of the 95 % interval of a bootstrap over the images
    ap_high: float
    check_images: int  # the first of them
    check_ap: float
    sha256: str  # of the weights file

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
        values = json.loads(path.read_text(encoding="utf-8"))
        return Card(**{field.name: values[field.name] for field in fields(Card)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"Expected a card of {recipe}'s weights at {path}, but it cannot be read ({error!r}): "
            "install posebench again, or write it with `posebench weights pack`."
        ) from None
