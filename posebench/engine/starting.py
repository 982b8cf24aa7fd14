"""Starting a training from weights that exist: which tensors are taken, and which rows.

A tensor is taken where the new model has one of its name and shape. Of one that has rows of
keypoints (`models.keypoint_rows`), the rows of the keypoints that both models have are taken, by
name; the others keep their initial values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from posebench.engine.checkpoint import Checkpoint
from posebench.errors import ModelError
from posebench.models import PoseModel
from posebench.models.keypoint_rows import Rows
from posebench.skeleton import canonical_name

LEAST_SHARE = 0.5  # of a model's values; with fewer, the weights are those of another network
LISTED = 8  # names in a message


@dataclass
class Taken:
    """What a model took from a checkpoint. Tensors are named as in the model."""

    source: str
    recipe: str
    keypoints: list[str]  # of the model, that the checkpoint has too
    new_keypoints: list[str]  # the others
    whole: list[str] = field(default_factory=list)
    in_part: dict[str, str] = field(default_factory=dict)  # name -> how much, "12 of 14"
    left: dict[str, str] = field(default_factory=dict)  # name -> why it keeps its initial values
    unused: list[str] = field(default_factory=list)  # of the checkpoint, which the model lacks

    def line(self) -> str:
        """Return a sentence or two for a terminal."""
        text = f"Started from {self.source} ({self.recipe}): {len(self.whole)} tensors taken whole"
        if self.in_part:
            count = len(self.keypoints)
            text += (
                f", {len(self.in_part)} in the rows of {count} of "
                f"{count + len(self.new_keypoints)} keypoints"
            )
            if self.new_keypoints:
                text += f" (not of {listed(self.new_keypoints)})"
        if self.left:
            text += f". {len(self.left)} keep their initial values: {listed(list(self.left))}"
        if self.unused:
            text += f". {len(self.unused)} have no place here: {listed(self.unused)}"
        return text + ". weights.json in the run folder lists them all."

    def to_json(self) -> dict[str, Any]:
        """Return everything, for `weights.json`."""
        return {
            "weights": self.source, "recipe": self.recipe, "keypoints": self.keypoints,
            "new_keypoints": self.new_keypoints, "taken": self.whole,
            "taken_in_part": self.in_part, "initial": self.left, "unused": self.unused,
        }  # fmt: skip


def listed(names: Sequence[str]) -> str:
    """Return a few names for a message."""
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


@torch.no_grad()
def start_from(model: PoseModel, checkpoint: Checkpoint, source: str) -> Taken:
    """Copy into a new model what fits of a checkpoint, and return what that is.

    Args:
        model: the model, with its initial values.
        checkpoint: of any recipe and keypoints.
        source: what the checkpoint is called in messages.

    Raises:
        ModelError: less than half of the model's values would be taken, or it is an exported file.
    """
    if not checkpoint.weights:
        raise ModelError(
            f"{source} is an exported network, which cannot be trained further: name the run or "
            "the checkpoint that it was exported from."
        )
    known = {canonical_name(name) for name in checkpoint.skeleton.keypoints}
    names = model.skeleton.keypoints
    taken = Taken(
        source,
        checkpoint.recipe.name,
        [name for name in names if canonical_name(name) in known],
        [name for name in names if canonical_name(name) not in known],
    )
    rows, rows_there = model.keypoint_rows(), _rows_of(checkpoint)
    state = {n: v for n, v in model.state_dict().items() if n not in model.computed_tensors}
    # Chosen first: a model that does not fit stays as it is.
    copies: list[tuple[Tensor, Tensor]] = []
    values = 0
    for name, own in state.items():
        value = checkpoint.weights.get(name)
        if value is None:
            taken.left[name] = "the weights have no such tensor"
            continue
        chosen = _fitting(own, value, rows.get(name), rows_there.get(name))
        if isinstance(chosen, str):
            taken.left[name] = chosen
            continue
        places, values_there = chosen
        copies.append((own, _placed(own, places, values_there)))
        values += values_there.numel()
        if values_there.numel() == own.numel():
            taken.whole.append(name)
        else:
            dim = min(rows[name])
            taken.in_part[name] = f"{values_there.shape[dim]} of {own.shape[dim]}"
    taken.unused = sorted(checkpoint.weights.keys() - state.keys() - set(model.computed_tensors))
    total = sum(own.numel() for own in state.values())
    if values < LEAST_SHARE * total:
        raise _misfit(taken, model, values / total)
    for own, value in copies:
        own.copy_(value)
    return taken


def _rows_of(checkpoint: Checkpoint) -> Mapping[str, Rows]:
    """Return the keypoint rows of a checkpoint's tensors, from its network without values."""
    with torch.device("meta"):
        return checkpoint.recipe.build(checkpoint.skeleton).keypoint_rows()


def _fitting(
    own: Tensor, value: Tensor, rows: Rows | None, rows_there: Rows | None
) -> tuple[dict[int, Tensor], Tensor] | str:
    """Return the values to take and their place in the tensor, or why none are taken.

    They go to the given indices of the given dimensions, and to all of the others.
    """
    rows, rows_there = rows or {}, rows_there or {}
    shapes = f"it is {tuple(value.shape)} there and {tuple(own.shape)} here"
    if rows.keys() != rows_there.keys() or own.ndim != value.ndim:
        return f"its rows are of other things there: {shapes}"
    if any(own.shape[d] != value.shape[d] for d in range(own.ndim) if d not in rows):
        return shapes
    places = {}
    for dim, labels in rows.items():
        there = {label: index for index, label in enumerate(rows_there[dim])}
        here = [index for index, label in enumerate(labels) if label in there]
        if not here:
            return "it has no keypoint or limb of the other keypoint set"
        value = value.index_select(dim, torch.tensor([there[labels[index]] for index in here]))
        places[dim] = torch.tensor(here)
    return places, value


def _placed(own: Tensor, places: Mapping[int, Tensor], value: Tensor) -> Tensor:
    """Return a tensor with the values at their places."""
    value = value.to(own)
    if not places:
        return value
    (dim, indices), *others = places.items()
    indices = indices.to(own.device)
    inner = _placed(own.index_select(dim, indices), dict(others), value)
    return own.index_copy(dim, indices, inner)


def _misfit(taken: Taken, model: PoseModel, share: float) -> ModelError:
    why = listed([f"{name} ({reason})" for name, reason in list(taken.left.items())[:2]])
    return ModelError(
        f"The weights of {taken.source} ({taken.recipe}) fit {100 * share:.0f} % of "
        f"{model.config.method} with the backbone {model.config.backbone}, and at least "
        f"{100 * LEAST_SHARE:.0f} % are needed; among the others: {why}. Name weights of the same "
        "method and backbone, or leave out --weights."
    )
