"""A network that another runtime computes, as the `PoseModel` that decodes its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from posebench.errors import UsageError
from posebench.exporting.card import Card
from posebench.exporting.files import Session
from posebench.models import PoseModel, profile_of


def exported_network(card: Card, session: Session, source: object = "") -> PoseModel:
    """Return a network without weights, whose outputs a session computes."""
    with torch.device("meta"):
        model = card.recipe.build(card.skeleton)
    model.runtime = Computed(card, session, source)
    return model.eval()


@dataclass(frozen=True)
class Computed:
    """The outputs of a network, from a session."""

    card: Card
    session: Session
    source: object

    def __call__(self, model: Any, images: Tensor, padding: Tensor | None) -> Any:
        height, width = images.shape[-2:]
        if self.card.size and self.card.size != (height, width):
            own = "x".join(map(str, self.card.size))
            raise UsageError(
                f"{self.source} takes images of {own} (height x width), not {height}x{width}."
            )
        graph = profile_of(model.config).graph
        return graph.restored(model, self.tensors(images, padding), (height, width))

    def tensors(self, images: Tensor, padding: Tensor | None) -> Mapping[str, Tensor]:
        """Return the graph's outputs by name."""
        # A method that reads no padding ignores it.
        return self.session(images.float(), padding if self.card.reads_padding else None)
