"""Checkpoints: weights with their recipe, and the training state from which a run resumes.

`last.safetensors` is written after its state file and names it, so a run that is killed between the
two resumes from the previous pair.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from posebench.engine.runs import find_checkpoint
from posebench.errors import ModelError
from posebench.files import atomic_write
from posebench.models import PoseModel, plugin_of, saved_base
from posebench.recipe import Recipe, recipe_from_json, recipe_to_json
from posebench.skeleton import Skeleton
from posebench.transfer import on_host


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file, and its metadata."""

    path: Path
    recipe: Recipe  # with the skeleton that the weights are for
    weights: dict[str, Tensor]
    facts: dict[str, Any]  # "epoch", "step", "metrics", "dataset", "state": those that are known

    @property
    def skeleton(self) -> Skeleton:
        assert self.recipe.skeleton is not None  # a saved recipe always has one
        return self.recipe.skeleton

    @property
    def weights_file(self) -> Path:
        """The file that the weights are from."""
        return self.path

    @property
    def trained_on(self) -> str:
        """The dataset that it was trained on."""
        # Imported weights name their keypoint set alone, which is named after its dataset.
        return str(self.facts.get("dataset", self.skeleton.name))

    def model(self) -> PoseModel:
        """Return the model in evaluation mode.

        Raises:
            ModelError: the weights do not fit the recipe.
        """
        model = self.recipe.build(self.skeleton)
        load_weights(model, self.weights, self.path.name)
        return model.eval()


def save_weights(
    path: Path, model: nn.Module, recipe: Recipe, skeleton: Skeleton, facts: dict[str, Any]
) -> None:
    """Write a model's weights with their recipe; `facts` as in `Checkpoint`."""
    weights = on_host({name: value.detach() for name, value in model.state_dict().items()})
    weights = {name: value.contiguous() for name, value in weights.items()}
    write_checkpoint(path, weights, recipe, skeleton, facts)


def write_checkpoint(
    path: Path,
    weights: dict[str, Tensor],
    recipe: Recipe,
    skeleton: Skeleton,
    facts: dict[str, Any],
) -> None:
    """Write weights with their recipe; `facts` as in `Checkpoint`."""
    metadata = {
        "recipe": json.dumps(recipe_to_json(recipe, skeleton)),
        "facts": json.dumps(facts),
    }
    if plugin := plugin_of(recipe):
        metadata["plugin"] = plugin
    _write(path, save(weights, metadata))


def _write(path: Path, content: bytes | memoryview) -> None:
    # Through Python's files: the libraries' writers give poor errors on a full disk.
    with atomic_write(path) as beside, beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # or a power failure could leave an empty file after the rename


def read_checkpoint(place: Path) -> Checkpoint:
    """Read a run's or a file's checkpoint.

    Raises:
        ModelError: there is none, it is damaged, or it was not written by posebench.
    """
    path = find_checkpoint(place)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        hint = (
            "convert a checkpoint of the authors' code with `posebench weights import`"
            if path.suffix in (".pth", ".pt", ".tar")
            else "it is damaged or cut short"
        )
        raise ModelError(f"{path} is not a posebench checkpoint ({error}): {hint}.") from None
    try:
        saved = json.loads(metadata["recipe"])
        name, facts = saved["name"], json.loads(metadata["facts"])
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"{path} does not name its recipe, so it was not written by posebench: convert "
            "published weights with `posebench weights import`."
        ) from None
    base = saved_base(name, metadata.get("plugin", ""), path)
    return Checkpoint(path, recipe_from_json(saved, base), weights, facts)


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load weights; names and shapes must be exactly those of the model.

    Raises:
        ModelError: they differ, as for `check_fit`.
    """
    check_fit(model, weights, source)
    model.load_state_dict(weights)


def check_fit(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Check that the names and shapes of weights are exactly those of the model.

    Raises:
        ModelError: they differ; the message lists up to eight of them.
    """
    expected = model.state_dict()
    problems = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    problems += [f"{name} is not in the model" for name in weights.keys() - expected.keys()]
    problems += [
        f"{name} is {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & weights.keys()
        if weights[name].shape != expected[name].shape
    ]
    if problems:
        listed = "; ".join(sorted(problems)[:8]) + ("; ..." if len(problems) > 8 else "")
        raise ModelError(
            f"{source} does not fit the model in {len(problems)} of {len(expected)} tensors: "
            f"{listed}. Choose the recipe it was trained with."
        )


class TrainingState:
    """The pair of files in a run's `checkpoints/` from which training resumes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = folder / "last.safetensors"

    def save(
        self,
        model: nn.Module,
        recipe: Recipe,
        skeleton: Skeleton,
        facts: dict[str, Any],
        state: dict[str, Any],
    ) -> None:
        """Write the weights after a step, with `facts` (at least "step") and the `state`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"state-{facts['step']}.pt"
        content = io.BytesIO()
        torch.save(on_host(state), content)
        _write(path, content.getbuffer())
        save_weights(self.weights, model, recipe, skeleton, {**facts, "state": path.name})
        # Files of earlier steps, and temporary ones that a kill or a full disk left behind.
        for old in (*self.folder.glob("state-*.pt"), *self.folder.glob(".*")):
            if old != path:
                old.unlink()

    def read(self) -> tuple[Checkpoint, dict[str, Any]]:
        """Return the last checkpoint and its training state.

        Raises:
            ModelError: there is none, or its state file is gone or damaged.
        """
        checkpoint = read_checkpoint(self.weights)
        path = self.folder / str(checkpoint.facts.get("state"))
        try:
            return checkpoint, torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:  # torch.load raises a dozen types for a damaged file
            raise ModelError(
                f"The training state {path} cannot be read ({type(error).__name__}): the run can "
                "be evaluated, but not resumed."
            ) from error
