"""Rebuild a run folder from its packed form; see README.md.

A packed run holds the run's JSON files as they were written and, for each tensor, its name, type,
shape and memory layout. The values are regenerated from the tensor's name and a few numbers:

* `values`: exactly these values;
* `mean`, `std`: a normal distribution;
* `positive_mean`: uniform between 0.5 and 1.5 times this mean, for tensors that are never negative.

The values depend on the name and these numbers alone, so they are the same on every machine.
This file imports nothing from posebench, because it serves both the version that wrote the runs
and the version that reads them.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

AS_WRITTEN = ("recipe.json", "environment.json", "log.jsonl")
WEIGHTS = ("last", "best")


def unpack(packed: Path, run: Path) -> None:
    """Write the run folder `run` from the packed run in the folder `packed`."""
    checkpoints = run / "checkpoints"
    checkpoints.mkdir(parents=True)
    for name in AS_WRITTEN:
        shutil.copyfile(packed / name, run / name)
    for name in WEIGHTS:
        described = json.loads((packed / f"{name}.json").read_text())
        weights = {key: tensor(key, row) for key, row in described["tensors"].items()}
        content = save(weights, described["metadata"])
        (checkpoints / f"{name}.safetensors").write_bytes(content)
    described = json.loads((packed / "state.json").read_text())
    torch.save(value("", described["content"]), checkpoints / described["file"])


def tensor(name: str, row: dict[str, Any]) -> Tensor:
    """Return the tensor that a row describes.

    A weight and its moving average use the same noise, so that the two are close to each other,
    as they are in a real run.
    """
    shape = tuple(row["shape"])
    noise = np.random.RandomState(zlib.crc32(name.removeprefix("averaged.module.").encode()))
    if "values" in row:
        array = np.array(row["values"], np.float64).reshape(shape)
    elif "positive_mean" in row:
        array = row["positive_mean"] * (0.5 + noise.random_sample(shape))
    else:
        array = row["mean"] + row["std"] * noise.standard_normal(shape)
    layout = torch.channels_last if row.get("channels_last") else torch.contiguous_format
    made = torch.empty(shape, dtype=getattr(torch, row["tensor"]), memory_format=layout)
    return made.copy_(torch.from_numpy(np.asarray(array)))


def value(path: str, described: Any) -> Any:
    """Return the value that `pack.described` wrote as JSON; `path` is the name of its tensors."""
    if isinstance(described, list):
        return [value(f"{path}.{number}", item) for number, item in enumerate(described)]
    if not isinstance(described, dict):
        return described
    if "tensor" in described:
        return tensor(path, described)
    if "tuple" in described:
        return tuple(value(path, described["tuple"]))
    # Not a JSON object, because some keys are integers.
    pairs = described["dict"] if "dict" in described else described["ordered"]
    items = [(key, value(f"{path}.{key}".removeprefix("."), item)) for key, item in pairs]
    if "dict" in described:
        return dict(items)
    ordered = OrderedDict(items)
    ordered._metadata = OrderedDict(described["metadata"])  # type: ignore[attr-defined]
    return ordered


def tensors_of(run: Path) -> dict[str, dict[str, Tensor]]:
    """Return the last weights of a run, and their moving average if the run keeps one."""
    found = {"weights": load_file(run / "checkpoints" / "last.safetensors")}
    [state] = run.glob("checkpoints/state-*.pt")
    average = torch.load(state, weights_only=True).get("averaged", {})
    if average:
        del average["n_averaged"]
        found["average"] = {name.removeprefix("module."): t for name, t in average.items()}
    return found


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, float]:
    """Return the Euclidean distance between the old and new parameters of each top-level module."""
    squares: dict[str, float] = {}
    for name, start in before.items():
        if start.is_floating_point() and "running_" not in name:
            part = name.partition(".")[0]
            square = (after[name] - start).double().square().sum().item()
            squares[part] = squares.get(part, 0.0) + square
    return {part: square**0.5 for part, square in squares.items()}
