"""Reading of torch's checkpoint files without running anything that is in them.

A checkpoint is a pickle, which names functions to be called. torch's own safe reader refuses every
file that names others than its own. The files of training frameworks name some in their metadata,
beside plain tensors: these are read here with stand-ins in their place, which do nothing.
"""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from posebench.errors import ModelError

# Where checkpoints have their state dict, the most specific first.
_PLACES = ("state_dict", "model_state_dict", "model", "network", "net", "ema_state_dict", "ema")

# All that may be looked up while a file is read: they build tensors, and call nothing of the file.
_HARMLESS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
}


class _StandIn:
    """What a file names and does not get: takes anything, and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, value: object) -> None: ...

    def extend(self, values: object) -> None: ...

    def __call__(self, *args: object, **kwargs: object) -> _StandIn:
        return _StandIn()


class _InertUnpickler(pickle.Unpickler):
    """Looks up nothing but what builds tensors."""

    def find_class(self, module: str, name: str) -> Any:
        known = _HARMLESS.get((module, name))
        if known is not None:
            return known
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return super().find_class(module, name)
        return _StandIn


def _inert_pickle() -> ModuleType:
    """Return a module for torch.load that looks like pickle."""
    module = ModuleType("inert_pickle")
    module.Unpickler = _InertUnpickler  # type: ignore[attr-defined]
    module.load = lambda file, **options: _InertUnpickler(file, **options).load()  # type: ignore[attr-defined]
    return module


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint file by name.

    Raises:
        ModelError: there is no such file, it is damaged, or it has no state dict.
    """
    if not path.is_file():
        raise ModelError(f"Expected a checkpoint at {path}, but there is no such file.")
    try:
        # Published checkpoints hold the options of their command line, which run nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load raises a dozen types for a damaged file
        try:
            content = None if _is_script(path) else _read_inertly(path)
        except Exception:
            content = None
        if content is None and "GLOBAL" in str(error):  # how torch names what it does not call
            raise _runs_code(path) from error
        if content is None:
            raise ModelError(
                f"{path} is {_kind_of(path)}: a whole PyTorch checkpoint was expected."
            ) from error
    return _find_state_dict(content, path)


def _read_inertly(path: Path) -> Any:
    return torch.load(path, weights_only=False, map_location="cpu", pickle_module=_inert_pickle())


def _kind_of(path: Path) -> str:
    """Return what a file that is not a whole checkpoint is instead."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if not start:
        return "an empty file"
    if start.startswith((b"<!doctype", b"<html")):
        return "a web page, such as a drive's or of a login"
    return "not a PyTorch checkpoint, or it is cut short"


def _runs_code(path: Path) -> ModelError:
    return ModelError(
        f"{path} holds more than tensors and plain values, and loading it would run code: it was "
        "refused. Save its state dict alone: torch.save(model.state_dict(), file)."
    )


def _is_script(path: Path) -> bool:
    """Return whether a file is a TorchScript archive, which torch.load would run."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def _find_state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the content if it is a state dict, or the one under a common key."""
    candidates = [content]
    if isinstance(content, dict):
        candidates += [content.get(place) for place in _PLACES]
    for candidate in candidates:
        if _is_state_dict(candidate):
            return {name: value for name, value in candidate.items() if isinstance(value, Tensor)}
    if any(map(_has_stand_in, candidates)):
        raise _runs_code(path)
    raise ModelError(
        f"{path} holds no state dict, neither itself nor under {', '.join(map(repr, _PLACES))}."
    )


def _has_stand_in(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(one, _StandIn) for one in inside)


def _is_state_dict(value: Any) -> bool:
    """Return whether a value is tensors by name; numbers among them are no parameters."""
    return (
        isinstance(value, dict)
        and any(isinstance(one, Tensor) for one in value.values())
        and all(isinstance(one, Tensor | int | float | _StandIn) for one in value.values())
        and all(isinstance(name, str) for name in value)
    )
