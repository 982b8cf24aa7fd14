"""Checkpoints on other backends than PyTorch, exported into the user's cache when first needed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from posebench.engine.backend_names import EXPORTED, check_backend, format_run_by
from posebench.engine.checkpoint import Checkpoint
from posebench.engine.devices import cpu_info, pick_device
from posebench.engine.evaluation import inference_model
from posebench.engine.exported import ExportedCheckpoint, read_exported
from posebench.errors import DataError, ModelError, Notice, UnsupportedError, UsageError
from posebench.exporting import NetworkInputs
from posebench.exporting.card import SUFFIXES, Card
from posebench.exporting.checking import Agreement
from posebench.exporting.network import exported_network
from posebench.exporting.program import compiled_session, traced
from posebench.exporting.writing import check_images, export_network
from posebench.files import cache_folder, check_writable, read_json, write_json
from posebench.layers.folding import folded
from posebench.models import PoseModel, profile_of
from posebench.recipe import recipe_to_json
from posebench.structures import Sample
from posebench.version import package_version

_TURNS = 3


@dataclass(frozen=True)
class CompiledCheckpoint(Checkpoint):
    """A checkpoint whose network is compiled by torch.compile, for each size of its input."""

    backend = "compile"

    def model(self) -> PoseModel:
        """Return the network; it compiles when it is first used."""
        model = folded(super().model())
        program = traced(model, self.recipe.inference, NetworkInputs())
        mirrored = profile_of(self.recipe.config).graph.merges_mirror and self.recipe.inference.flip
        card = Card(self.recipe, program.outputs, mirrored=mirrored)
        return exported_network(card, compiled_session(program), self.path)


def on_backend(checkpoint: Checkpoint, backend: str) -> Checkpoint:
    """Return a checkpoint whose network a backend computes.

    Args:
        checkpoint: with the recipe's final test settings, some of which are part of the graph.
        backend: one of `BACKENDS`, or `auto`: the fastest here of those that predict the same
            people as PyTorch.

    Raises:
        UsageError: there is no such backend, or the checkpoint is an exported file.
        UnsupportedError: the backend is not installed or lacks an operator.
    """
    check_backend(backend)
    if isinstance(checkpoint, ExportedCheckpoint):
        if backend not in ("auto", checkpoint.backend):
            raise UsageError(
                f"{checkpoint.path} is run by {checkpoint.backend}: leave out --backend, or name "
                "the run that it was exported from."
            )
        return checkpoint
    if backend == "torch":
        return checkpoint
    if backend == "auto":
        return on_backend(checkpoint, fastest_backend(checkpoint))
    if backend == "compile":
        return CompiledCheckpoint(
            checkpoint.path, checkpoint.recipe, checkpoint.weights, checkpoint.facts
        )
    exported, agreement = _cached(checkpoint, backend)
    if agreement["unequal"]:
        warnings.warn(
            f"{backend} predicts other people than PyTorch: {agreement['unequal']} of "
            f"{agreement['people']} differ on check images.",
            Notice,
            stacklevel=2,
        )
    return exported


def placed(
    checkpoint: Checkpoint, device: str, precision: str, backend: str = "torch"
) -> tuple[Checkpoint, torch.device]:
    """Return a checkpoint on a backend, and the device that it is for.

    Raises:
        UsageError: there is no such device or backend, or they do not fit together.
        UnsupportedError: the backend is not installed, or lacks an operator.
    """
    check_backend(backend)
    exported = isinstance(checkpoint, ExportedCheckpoint)
    if backend == "torch" and not exported:
        return checkpoint, pick_device(device)
    what = str(checkpoint.path) if exported else f"--backend {backend}"
    if device not in ("auto", "cpu"):
        raise UsageError(f"{what} computes on the CPU, not on {device}: leave out --device.")
    if precision != "fp32":
        raise UsageError(f"{what} has its own precision: leave out --precision {precision}.")
    # An exported file has its backend already, whatever the default is.
    own = on_backend(checkpoint, "auto" if exported and backend == "torch" else backend)
    return own, torch.device("cpu")


def fastest_backend(checkpoint: Checkpoint) -> str:
    """Return the fastest backend here whose people on check images equal PyTorch's.

    It is never `compile`, which takes a minute for every size of image.

    What was measured is kept in the user's cache, for these weights, this machine and these
    versions.
    """
    record = cache_folder() / "backends.json"
    known = _read(record)
    machine = f"{cpu_info('model name')}, {torch.get_num_threads()} threads"
    key = f"{_fingerprint(checkpoint, *EXPORTED)} {machine}"
    if key not in known:
        known[key] = _measured(checkpoint)
        write_json(record, {**_read(record), key: known[key]})
    return str(known[key]["fastest"])


def _measured(checkpoint: Checkpoint) -> dict[str, Any]:
    samples = check_images(checkpoint.recipe)
    networks = {"torch": inference_model(checkpoint.model())}
    refused = {}
    for name in EXPORTED:
        try:
            exported, agreement = _cached(checkpoint, name)
            if agreement["equal"]:
                networks[name] = exported.model()
            else:
                refused[name] = "other people than PyTorch"
        except (UnsupportedError, ModelError) as error:
            refused[name] = str(error)
    seconds = _in_turns(networks, samples, checkpoint)
    fastest = min(seconds, key=lambda name: seconds[name])
    return {"fastest": fastest, "seconds": seconds, "refused": refused}


def _in_turns(
    networks: dict[str, PoseModel], samples: Sequence[Sample], checkpoint: Checkpoint
) -> dict[str, float]:
    """Return each network's shortest time for the samples; the first turn is not counted."""
    best = dict.fromkeys(networks, float("inf"))
    for turn in range(_TURNS + 1):
        for name, network in networks.items():
            start = time.perf_counter()
            for sample in samples:
                network.predict([sample], checkpoint.recipe.inference)
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def _cached(checkpoint: Checkpoint, backend: str) -> tuple[ExportedCheckpoint, dict[str, Any]]:
    """Return a checkpoint exported for a backend, and how its outputs compare with PyTorch's."""
    name = f"{checkpoint.recipe.name}-{_fingerprint(checkpoint, backend)}"
    folder = cache_folder() / "exports" / name
    file = f"model{SUFFIXES[format_run_by(backend)]}"
    if not (folder / "check.json").is_file():
        # Written beside and renamed, so that processes do not see half of it.
        check_writable(folder, "folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".", ignore_cleanup_errors=True) as own:
            beside = Path(own) / name
            written = export_network(
                folded(checkpoint.model()), checkpoint.recipe, beside / file, facts=checkpoint.facts
            )
            write_json(beside / "check.json", _as_json(written.agreement))
            if folder.exists() and not (folder / "check.json").is_file():
                shutil.rmtree(folder)  # half of it was removed
            try:
                beside.rename(folder)
            except OSError:  # another process was faster
                if not (folder / "check.json").is_file():
                    raise
    exported = replace(read_exported(folder / file), origin=checkpoint.path)
    return exported, read_json(folder / "check.json", "the check of an export")


def _as_json(agreement: Agreement) -> dict[str, Any]:
    return {
        "equal": agreement.equal,
        "people": agreement.people,
        "unequal": agreement.unequal,
        "tensors": dict(agreement.tensors),
    }


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    with suppress(DataError):  # missing or damaged: it is measured again
        content.update(read_json(path, "what was measured of backends"))
    return content


def _fingerprint(checkpoint: Checkpoint, *backends: str) -> str:
    """Return a text that changes with the weights, the recipe, and the versions of what runs it."""
    versions = [f"{name} {_version(name)}" for name in ("torch", "onnx", *backends)]
    recipe = recipe_to_json(checkpoint.recipe, checkpoint.skeleton)
    told = json.dumps([package_version(), versions, recipe], sort_keys=True)
    digest = hashlib.sha256(told.encode())
    for name, tensor in sorted(checkpoint.weights.items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
