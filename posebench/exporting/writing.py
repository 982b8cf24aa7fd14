"""A network written to a file, read back, and compared with PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posebench.errors import UsageError
from posebench.exporting.card import Card
from posebench.exporting.checking import Agreement, compare
from posebench.exporting.files import open_session, write_network
from posebench.exporting.program import NetworkInputs, traced
from posebench.models import PoseModel, profile_of
from posebench.recipe import Recipe
from posebench.structures import Sample
from posebench.version import package_version

CHECK_IMAGES = 2


@dataclass(frozen=True)
class Exported:
    """A file that has been written and checked."""

    path: Path
    card: Card
    agreement: Agreement
    # Of an INT8 file: the main metric of it and of the same network in float32, by precision.
    scored: Mapping[str, float] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of the file, and of its weights where they lie beside it."""
        beside = self.path.with_suffix(".bin")
        extra = beside.stat().st_size if self.path.suffix == ".xml" and beside.is_file() else 0
        return self.path.stat().st_size + extra


def export_network(
    model: PoseModel,
    recipe: Recipe,
    path: Path,
    *,
    inputs: NetworkInputs | None = None,
    half: bool = False,
    facts: Mapping[str, Any] | None = None,
    samples: Sequence[Sample] | None = None,
    threads: int = 0,
) -> Exported:
    """Write a network, open the file, and compare both.

    Args:
        model: in evaluation mode on the CPU, its batch norms folded.
        recipe: with the skeleton and the test settings to export.
        path: of the file; its suffix is the format's.
        inputs: sizes; None: any.
        half: store weights in half precision.
        facts: of the checkpoint, which the file keeps.
        samples: images to compare on; None: synthetic crowds.
        threads: of the runtime in the comparison; 0: as many as PyTorch uses.

    Raises:
        UsageError: the size is too small, or no multiple of what the network needs.
        UnsupportedError: the method cannot be exported at that size; or the runtime lacks an
            operator, or is not installed.
    """
    inputs = inputs or NetworkInputs()
    _check_size(inputs)
    program = traced(model, recipe.inference, inputs)
    graph = profile_of(recipe.config).graph
    card = Card(
        recipe=recipe,
        outputs=program.outputs,
        size=inputs.size,
        batch=inputs.batch,
        mirrored=graph.merges_mirror and recipe.inference.flip,
        reads_padding=program.reads_padding,
        weights="float16" if half else "float32",
        version=package_version(),
        facts=dict(facts or {}),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_network(program, card, path)
    session = open_session(path, card, threads=threads)
    chosen = check_images(recipe) if samples is None else samples
    return Exported(path, card, compare(model, card, session, chosen))


def check_images(recipe: Recipe, count: int = CHECK_IMAGES) -> list[Sample]:
    """Return images with people, on which networks are compared: synthetic crowds."""
    from posebench.data.synthetic_crowds import SyntheticCrowds

    assert recipe.skeleton is not None
    crowds = SyntheticCrowds(recipe.skeleton, "val", size=256, crowd=0.3)
    samples = [crowds.load(index) for index in range(count)]
    # Not square, as most photographs.
    return [Sample(sample.image[32:224], name=sample.name) for sample in samples]


def _check_size(inputs: NetworkInputs) -> None:
    if inputs.size and min(inputs.size) < 64:
        height, width = inputs.size
        raise UsageError(
            f"Expected a height and a width of at least 64 pixels, but found {height}x{width}."
        )
