"""Models as files of other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from posebench.api.datasets import open_dataset
from posebench.api.evaluation import evaluate
from posebench.data import find_layout
from posebench.errors import UsageError, unknown_name
from posebench.exporting.card import SUFFIXES, check_libraries
from posebench.recipe import with_inference

if TYPE_CHECKING:
    from posebench.data import PoseDataset
    from posebench.engine import Model
    from posebench.exporting.writing import Exported
    from posebench.models import PoseModel
    from posebench.structures import Sample


def export(
    model: str | Path | Model,
    to: str | Path | None = None,
    *,
    format: str = "onnx",
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    half: bool = False,
    int8: bool = False,
    calibrate: int = 64,
    dataset: str | PoseDataset | None = None,
    data_root: str | Path | None = None,
    limit: int | None = None,
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
        int8: quantise the convolutions by the runtime's own quantiser, and evaluate the result
            beside float32.
        calibrate: number of training images from which the quantiser measures ranges.
        dataset: with `int8`, a name or what `open_dataset` returns: calibrated on its training
            images and evaluated on its usual split; None: the one the model was trained on.
        data_root: the folder that contains the dataset folders.
        limit: with `int8`, evaluate on this many images at most.
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
        fitting = [name for name, suffix in SUFFIXES.items() if suffix == path.suffix]
        other = f", or choose --format {fitting[0]}" if fitting else ""
        raise UsageError(
            f"A file of the format {format} ends in {SUFFIXES[format]}, but --out is {path}: name "
            f"it {path.with_suffix(SUFFIXES[format])}{other}."
        )
    if int8 and half:
        raise UsageError("Weights are stored in half precision or in INT8: leave one out.")
    check_libraries(format)
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
    network = folded(replace(checkpoint, recipe=recipe).model())
    path = path or Path(recipe.name + SUFFIXES[format])
    with TemporaryDirectory() as folder:
        written = export_network(
            network, recipe, Path(folder) / path.name if int8 else path,
            inputs=NetworkInputs(size, batch), half=half, facts=checkpoint.facts, samples=samples,
        )  # fmt: skip
        if not int8:
            return written
        return _quantised(
            written, network, path, samples, calibrate,
            dataset or checkpoint.trained_on, data_root, limit,
        )  # fmt: skip


def _quantised(
    written: Exported, network: PoseModel, path: Path, samples: list[Sample] | None, count: int,
    dataset: str | PoseDataset, data_root: str | Path | None, limit: int | None,
) -> Exported:  # fmt: skip
    """Quantise a written file, and score it beside the file in float32."""
    from posebench.exporting.checking import compare
    from posebench.exporting.files import open_session
    from posebench.exporting.quantising import quantise
    from posebench.exporting.writing import check_images

    name = dataset if isinstance(dataset, str) else dataset.reference
    training = open_dataset(name, find_layout(name).train_split, data_root=data_root)
    calibrating = [training.load(index) for index in range(min(count, len(training)))]
    card = quantise(written.path, written.card, path, calibrating)
    scored = {
        precision: next(
            iter(evaluate(file, dataset, data_root=data_root, limit=limit).metrics.values())
        )
        for precision, file in (("float32", written.path), ("int8", path))
    }
    chosen = samples or check_images(card.recipe)
    agreement = compare(network, card, open_session(path, card), chosen)
    return replace(written, path=path, card=card, agreement=agreement, scored=scored)


def _sample(image: str | Path) -> Sample:
    from posebench.engine import as_rgb
    from posebench.structures import Sample

    return Sample(as_rgb(image), name=str(image))
