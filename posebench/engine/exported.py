"""Exported files in place of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from posebench.engine.checkpoint import Checkpoint
from posebench.exporting import Card, exported_network, open_session, read_card
from posebench.exporting.card import RUNTIMES
from posebench.exporting.files import format_of
from posebench.models import PoseModel
from posebench.structures import FixedResize


@dataclass(frozen=True)
class ExportedCheckpoint(Checkpoint):
    """An exported file; it has no weights that PyTorch could read."""

    card: Card
    origin: Path | None = None  # the checkpoint that it was exported from, if that is here

    @property
    def weights_file(self) -> Path:
        """The file that the weights are from: of an export behind the scenes, the checkpoint."""
        return self.origin or self.path

    @property
    def backend(self) -> str:
        """The runtime that computes the network."""
        return RUNTIMES[format_of(self.path)]

    def model(self) -> PoseModel:
        """Return the network, whose forward pass the file's runtime computes.

        Raises:
            UsageError: the recipe's test settings are not possible with the file.
            UnsupportedError: the runtime is missing or lacks an operator.
        """
        self.card.check(self.recipe, self.path)
        card = replace(self.card, recipe=self.recipe)
        return exported_network(card, open_session(self.path, self.card), self.path)


def read_exported(path: Path) -> ExportedCheckpoint:
    """Read an exported file.

    Raises:
        ModelError: it is damaged, or posebench has not written it.
        UnsupportedError: the library that reads it is not installed.
    """
    card = read_card(path)
    recipe = card.used_recipe
    if isinstance(recipe.inference.resize, FixedResize):
        recipe = replace(recipe, test_overrides={})  # which may name another size
    return ExportedCheckpoint(path, recipe, {}, dict(card.facts), card)
