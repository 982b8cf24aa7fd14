"""Small networks, traced once for all tests of a process."""

from __future__ import annotations

import importlib.util
from functools import cache

import pytest

from posebench.engine import find_model
from posebench.exporting import NetworkInputs
from posebench.exporting.card import LIBRARIES, Card
from posebench.exporting.program import Program, traced
from posebench.layers.folding import folded
from posebench.models import PoseModel, profile_of
from posebench.recipe import override

SIZE = (96, 128)


def needs(format: str, *further: str) -> None:
    """Skip the test where what writes and runs a format is not installed."""
    libraries = [*LIBRARIES[format], *further]
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join([format, *(["int8"] if "nncf" in further else [])])
        pytest.skip(f"{', '.join(missing)} is not installed: pip install 'posebench[{extras}]'")


# PyTorch's exporter to ONNX leaves symbols in a graph with loops, which another format then
# stumbles on; posebench itself writes one file of a graph.
_WITH_LOOPS = ("mask_rcnn_tiny",)

# Gaussians are fitted to peaks, as published, and those of flat peaks move by tenths of a pixel
# where heatmaps change by 1e-7.
_DECODED_BY = {"dekr_tiny": "match_peaks=false"}


def traced_network(name: str, format: str = "") -> tuple[PoseModel, Card, Program]:
    """Return a recipe's network with its weights, the card of its file, and its graph."""
    return _traced(name, format if name in _WITH_LOOPS else "")


@cache
def _traced(name: str, format: str) -> tuple[PoseModel, Card, Program]:
    checkpoint = find_model(name)
    model, recipe = folded(checkpoint.model()), checkpoint.recipe
    if name in _DECODED_BY:
        recipe = override(recipe, _DECODED_BY[name])
        model.config = recipe.config
    program = traced(model, recipe.inference, NetworkInputs(SIZE, 1))
    graph = profile_of(recipe.config).graph
    card = Card(
        recipe, program.outputs, SIZE, 1,
        mirrored=graph.merges_mirror and recipe.inference.flip,
        reads_padding=program.reads_padding,
    )  # fmt: skip
    return model, card, program
