"""The reproducible weights that the fixtures were computed with."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from tests.parity.fixtures import find_in_sets


def reference_state_dict(keys: Path, weight_gain: float) -> dict[str, Tensor]:
    """Fill the names of a `*.keys.json` by the `reference_weights.py` of the set in use."""
    source = find_in_sets("reference_weights.py")
    spec = importlib.util.spec_from_file_location("reference_weights", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state = module.reference_state_dict(keys, weight_gain)
    return {name: torch.from_numpy(value) for name, value in state.items()}
