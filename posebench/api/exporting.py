"""Models as files of other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.errors import UsageError, unknown_name
from posebench.exporting.card import SUFFIXES
from posebench.recipe import with_inference

if TYPE_CHECKING:
    from posebench.engine import Model
    from posebench.exporting.writing import Exported
    from posebench.structures import Sample


def export(
    model: str | Path | Model,
    to: str | Path | None = None,
    *,
    format: str = "onnx",
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    half: bool = False,
    flip: bool | None = None,
    images: Sequence[str | Path] = (),
) -> Exported:
    """Write a model's network for another runtime, and compare the file with PyTorch.

        posebench.export("cid_tiny", "cid.onnx").agreement.equal
        posebench.load_model("cid.onnx").predict("image.jpg")

    The network is written without the resizing of images and the decoding of people; what these
    need is in the file's metadata.

    Args:
        model: what `load_model` takes or returns.
        to: the file; None: the recipe's name in this folder.
        format: `onnx`, `openvino` (an .xml file, with its weights in a .bin beside it) or `pt2`.
        size: height and width of the network's input; images are scaled to fit and padded. None:
            any, and images are resized as in evaluation.
        batch: images of a forward pass; None: any number.
        half: store weights in half precision; it is computed in float32.
        flip: whether people are also predicted on the mirrored image; None: as the recipe does.
        images: files on which the outputs are compared; none: synthetic crowds.

    Raises:
        UsageError: a name or a size does not fit.
        ModelError: there is no such model.
        UnsupportedError: its method cannot be exported, the format lacks an operator, or its
            runtime is not installed.
    """
    if format not in SUFFIXES:
        raise unknown_name("format", format, SUFFIXES)
    path = None if to is None else Path(to)
    if path is not None and path.suffix != SUFFIXES[format]:
        raise UsageError(f"A file of the format {format} ends in {SUFFIXES[format]}, not {path}.")
    from posebench import engine
    from posebench.engine.exported import ExportedCheckpoint
    from posebench.exporting.program import NetworkInputs
    from posebench.exporting.writing import export_network
    from posebench.layers.folding import folded

    checkpoint = (
        model.checkpoint if isinstance(model, engine.Model) else engine.find_model(str(model))
    )
    if isinstance(checkpoint, ExportedCheckpoint):
        raise UsageError(f"{checkpoint.path} is exported already: name the run it is of.")
    recipe = with_inference(checkpoint.recipe, flip=flip)
    samples = [_sample(image) for image in images] or None
    return export_network(
        folded(replace(checkpoint, recipe=recipe).model()), recipe,
        path or Path(recipe.name + SUFFIXES[format]),
        inputs=NetworkInputs(size, batch), half=half, facts=checkpoint.facts, samples=samples,
    )  # fmt: skip


def _sample(image: str | Path) -> Sample:
    from posebench.engine import as_rgb
    from posebench.structures import Sample

    return Sample(as_rgb(image), name=str(image))
