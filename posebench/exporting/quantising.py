"""INT8 networks by the runtimes' own quantisers, calibrated on images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from posebench.errors import PosebenchError, UnsupportedError
from posebench.exporting.card import KEY, Card
from posebench.exporting.files import fed, format_of, required, save_openvino
from posebench.exporting.program import first_line, quiet
from posebench.files import atomic_write
from posebench.preprocess import scaled_batches
from posebench.structures import Sample


def quantise(source: Path, card: Card, path: Path, samples: Sequence[Sample]) -> Card:
    """Write an exported network with its convolutions in INT8, and return its card.

    Args:
        source: the file in float32.
        card: of the file.
        path: of the new file, in the same format.
        samples: images from whose activations the ranges are measured.

    Raises:
        UnsupportedError: the format has no quantiser, or it is not installed or fails.
    """
    quantised = replace(card, weights="int8")
    name = format_of(source)
    if name == "pt2":
        raise UnsupportedError(
            "A .pt2 file has no quantiser here: choose --format onnx, or openvino."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with quiet():
            (_onnx if name == "onnx" else _openvino)(source, quantised, path, samples)
    except PosebenchError:
        raise
    except Exception as error:  # of every part of a quantiser
        raise UnsupportedError(
            f"The quantiser of {name} cannot take {card.recipe.name} ({first_line(error)})."
        ) from error
    return quantised


def _inputs(card: Card, samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    """Yield the network's inputs for each image, as its runtime takes them."""
    inference = replace(card.used_recipe.inference, scales=(1.0,))
    for sample in samples:
        [(_, [batch])] = scaled_batches([sample], inference)
        # A file of a fixed batch sees the image in each place of it.
        count = card.batch or 1
        padding = None if batch.padding is None else batch.padding.expand(count, -1, -1)
        yield fed(batch.images.expand(count, -1, -1, -1), padding, card)


def _onnx(source: Path, card: Card, path: Path, samples: Sequence[Sample]) -> None:
    quantization = required("onnxruntime.quantization", "onnx")
    onnx = required("onnx", "onnx")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.inputs = _inputs(card, samples)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.inputs, None)

    with atomic_write(path) as beside:
        quantization.quantize_static(
            str(source), str(beside), Reader(),
            quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=["Conv"],  # where nearly all time goes; the rest stays in float32
        )  # fmt: skip
        model = onnx.load(str(beside))
        onnx.helper.set_model_props(model, {KEY: card.to_json()})
        onnx.save(model, str(beside))


def _openvino(source: Path, card: Card, path: Path, samples: Sequence[Sample]) -> None:
    openvino = required("openvino", "openvino")
    nncf = required("nncf", "int8")
    model = openvino.Core().read_model(str(source))
    inputs = list(_inputs(card, samples))
    quantised = nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs))
    save_openvino(quantised, card, path)
