"""Files of each format: written from a traced network, and opened in their runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from posebench.errors import ModelError, UnsupportedError, UsageError
from posebench.exporting.card import KEY, RUNTIMES, SUFFIXES, Card, not_installed
from posebench.exporting.program import Program, first_line, quiet
from posebench.files import atomic_write

OPSET = 20  # of ONNX; deformable convolution needs 19
_SMALL = 1024  # numbers of a tensor, below which half precision saves nothing


class Session(Protocol):
    """A network in a runtime: from the graph's inputs to its outputs by name."""

    def __call__(self, images: Tensor, padding: Tensor | None = None) -> Mapping[str, Tensor]:
        """Return the outputs for images (B, 3, H, W)."""


def required(module: str, extra: str) -> Any:
    """Import a library that an extra installs.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise not_installed(module, extra) from None


def format_of(path: Path) -> str:
    """Return the format of an exported file by its suffix.

    Raises:
        UsageError: no format has it.
    """
    for name, suffix in SUFFIXES.items():
        if path.suffix == suffix:
            return name
    known = ", ".join(f"{suffix} ({name})" for name, suffix in SUFFIXES.items())
    raise UsageError(f"An exported file ends in {known}, not in {path.suffix or 'nothing'}.")


def write_network(program: Program, card: Card, path: Path) -> None:
    """Write a traced network in the format of the file's suffix.

    Raises:
        UnsupportedError: the format lacks an operator or an option, or its library is missing.
    """
    _FORMATS[format_of(path)].write(program, card, path)


def read_card(path: Path) -> Card:
    """Read the metadata of an exported file.

    Raises:
        ModelError: it is damaged, or posebench has not written it.
        UnsupportedError: the library that reads it is not installed.
    """
    text = _FORMATS[format_of(path)].read_metadata(path)
    if text is None:
        raise ModelError(
            f"{path} has no metadata of posebench, so its outputs cannot be decoded: export it "
            "with `posebench export`; `posebench speed --onnx` times other files."
        )
    return Card.from_json(text, path)


def open_session(path: Path, card: Card, *, threads: int = 0) -> Session:
    """Open an exported file in its runtime.

    Args:
        path: the file.
        card: its metadata.
        threads: of the CPU; 0: as many as PyTorch uses.

    Raises:
        UnsupportedError: the runtime lacks an operator, or is not installed.
    """
    name = format_of(path)
    count = threads or torch.get_num_threads()
    try:
        with quiet():
            session = _FORMATS[name].open(path, card, count)
    except (ModelError, UnsupportedError):
        raise
    except Exception as error:
        raise UnsupportedError(
            f"{RUNTIMES[name]} cannot open {path.name} ({first_line(error)})."
        ) from error
    return _InBatches(session, card.batch) if card.batch else session


@dataclass(frozen=True)
class _InBatches:
    """A session of a fixed batch; the last one is filled up with blank images."""

    session: Session
    batch: int

    def __call__(self, images: Tensor, padding: Tensor | None = None) -> dict[str, Tensor]:
        parts: list[Mapping[str, Tensor]] = []
        for first in range(0, len(images), self.batch):
            rows = slice(first, first + self.batch)
            own = None if padding is None else _filled(padding[rows], self.batch)
            parts.append(self.session(_filled(images[rows], self.batch), own))
        return {name: torch.cat([p[name] for p in parts])[: len(images)] for name in parts[0]}


def _filled(rows: Tensor, count: int) -> Tensor:
    return torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])


def _named(card: Card, values: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in zip(card.outputs, values, strict=True)}


def fed(images: Tensor, padding: Tensor | None, card: Card) -> dict[str, Any]:
    """Return the arrays that a session takes, by the names of the graph's inputs."""
    feeds = {"images": images.contiguous().numpy()}
    if card.reads_padding:
        own = images.new_zeros(len(images), *images.shape[2:], dtype=torch.bool)
        feeds["padding"] = (own if padding is None else padding).numpy()
    return feeds


# ------------------------------------------------------------------------------------------- ONNX


def _write_onnx(program: Program, card: Card, path: Path) -> None:
    required("onnx", "onnx")
    required("onnxscript", "onnx")
    try:
        with quiet(), torch.no_grad():
            written = torch.onnx.export(
                program.exported, program.example, None, dynamo=True, verbose=False,
                opset_version=OPSET, input_names=["images", "padding"][: len(program.example)],
                output_names=list(program.outputs),
            )  # fmt: skip
    except Exception as error:
        raise UnsupportedError(
            f"ONNX cannot express {card.recipe.name} ({first_line(error)})."
        ) from error
    assert written is not None
    written.model.metadata_props[KEY] = card.to_json()
    with atomic_write(path) as beside:
        if card.weights == "float16":
            import onnx

            onnx.save(_halved(written.model_proto), str(beside))
        else:
            written.save(str(beside))


def _halved(model: Any) -> Any:
    """Return an ONNX model whose large tensors are stored in half precision and cast when used.

    Runtimes cast them once, when the file is opened, so that results do not depend on whether a
    processor computes in half precision.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for number, tensor in enumerate(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _SMALL:
            continue
        name = tensor.name
        half = numpy_helper.from_array(
            numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half"
        )
        model.graph.initializer[number].CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _onnx_metadata(path: Path) -> str | None:
    onnx = required("onnx", "onnx")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX file, or damaged ({first_line(error)}).") from None
    return next((own.value for own in model.metadata_props if own.key == KEY), None)


def _open_onnx(path: Path, card: Card, threads: int) -> Session:
    session = onnx_session(path, threads)

    def run(images: Tensor, padding: Tensor | None = None) -> dict[str, Tensor]:
        return _named(card, session.run(list(card.outputs), fed(images, padding, card)))

    return run


def onnx_session(path: Path, threads: int) -> Any:
    """Return ONNX Runtime's session of any ONNX file, on the CPU."""
    runtime = required("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


# --------------------------------------------------------------------------------------- OpenVINO


def _write_openvino(program: Program, card: Card, path: Path) -> None:
    openvino = required("openvino", "openvino")
    try:
        with quiet(), torch.no_grad():
            model = openvino.convert_model(program.exported)
    except Exception as error:
        raise UnsupportedError(
            f"OpenVINO cannot convert {card.recipe.name} ({_conversion(error)})."
        ) from error
    inputs = ["images", "padding"][: len(program.example)]
    for ports, names in ((model.inputs, inputs), (model.outputs, program.outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    save_openvino(model, card, path)


def save_openvino(model: Any, card: Card, path: Path) -> None:
    """Write OpenVINO's network with a card, and its weights beside it; both whole or neither."""
    model.set_rt_info(card.to_json(), [KEY])
    with TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        beside = Path(folder) / path.name
        required("openvino", "openvino").save_model(
            model, str(beside), compress_to_fp16=card.weights == "float16"
        )
        for suffix in (".bin", ".xml"):
            beside.with_suffix(suffix).replace(path.with_suffix(suffix))


def _conversion(error: Exception) -> str:
    """Return the line of OpenVINO's report that names the operator."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    return next((line for line in lines if "No conversion rule" in line), first_line(error))


def _openvino_model(path: Path) -> Any:
    openvino = required("openvino", "openvino")
    if not path.with_suffix(".bin").is_file():
        raise ModelError(
            f"{path} has no weights: OpenVINO keeps them beside it, in "
            f"{path.with_suffix('.bin').name}."
        )
    try:
        return openvino.Core().read_model(str(path))
    except Exception as error:
        raise ModelError(
            f"{path} is not an OpenVINO file, or damaged ({first_line(error)})."
        ) from None


def _openvino_metadata(path: Path) -> str | None:
    model = _openvino_model(path)
    return str(model.get_rt_info([KEY]).value) if model.has_rt_info([KEY]) else None


def _open_openvino(path: Path, card: Card, threads: int) -> Session:
    openvino = required("openvino", "openvino")
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(_openvino_model(path), "CPU", settings)

    def run(images: Tensor, padding: Tensor | None = None) -> dict[str, Tensor]:
        values = compiled(fed(images, padding, card))
        return _named(card, [values[name].copy() for name in card.outputs])

    return run


# -------------------------------------------------------------------------------------------- pt2


def _write_pt2(program: Program, card: Card, path: Path) -> None:
    if card.weights != "float32":
        raise UnsupportedError(
            f"A .pt2 file keeps weights in float32, not in {card.weights}: choose --format onnx or "
            "openvino."
        )
    with quiet(), atomic_write(path) as beside, beside.open("wb") as file:
        torch.export.save(program.exported, file, extra_files={KEY: card.to_json()})


def _pt2_metadata(path: Path) -> str | None:
    try:
        with ZipFile(path) as archive:  # the program itself takes seconds to load
            name = next((n for n in archive.namelist() if n.endswith(f"extra/{KEY}")), None)
            return None if name is None else archive.read(name).decode()
    except (BadZipFile, OSError) as error:
        raise ModelError(f"{path} is not a .pt2 file, or damaged ({first_line(error)}).") from None


def _open_pt2(path: Path, card: Card, threads: int) -> Session:
    return program_session(torch.export.load(path).module(), card)


def program_session(module: Callable[..., Mapping[str, Tensor]], card: Card) -> Session:
    """Return the session of a graph that PyTorch runs."""

    def run(images: Tensor, padding: Tensor | None = None) -> Mapping[str, Tensor]:
        feeds = fed(images, padding, card)
        with torch.no_grad():
            return module(*(torch.from_numpy(value) for value in feeds.values()))

    return run


@dataclass(frozen=True)
class _Format:
    write: Callable[[Program, Card, Path], None]
    read_metadata: Callable[[Path], str | None]
    open: Callable[[Path, Card, int], Session]


_FORMATS = {
    "onnx": _Format(_write_onnx, _onnx_metadata, _open_onnx),
    "openvino": _Format(_write_openvino, _openvino_metadata, _open_openvino),
    "pt2": _Format(_write_pt2, _pt2_metadata, _open_pt2),
}
