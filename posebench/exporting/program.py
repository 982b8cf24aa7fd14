"""A network as a graph of PyTorch's operators, from which every format is written.

Shapes: B images, H x W network input.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posebench.errors import UnsupportedError, UsageError
from posebench.layers.affine import network_map
from posebench.layers.portable import portable_operators
from posebench.models import PoseModel, profile_of
from posebench.models.graph import Graph
from posebench.preprocess import padded_size, size_multiple
from posebench.structures import Inference

_STRIDE = 32  # pixels per cell of the coarsest features
_USUAL_IMAGE = (640, 480)  # width and height of COCO's most frequent size


@dataclass(frozen=True)
class NetworkInputs:
    """The sizes that an exported network takes."""

    size: tuple[int, int] | None = None  # H, W; None: any
    batch: int | None = None  # None: any


class GraphModule(nn.Module):
    """A network whose forward pass returns the named outputs of its method's graph."""

    def __init__(self, model: PoseModel, flip: bool) -> None:
        super().__init__()
        self.model, self.flip = model, flip
        self.graph: Graph[PoseModel] = profile_of(model.config).graph

    def forward(self, images: Tensor, padding: Tensor | None = None) -> dict[str, Tensor]:
        return dict(self.graph.outputs(self.model, images, padding, self.flip))


@dataclass(frozen=True)
class Program:
    """A traced network."""

    exported: torch.export.ExportedProgram
    example: tuple[Tensor, ...]  # inputs of the traced size: images, and padding if it is read
    outputs: tuple[str, ...]
    reads_padding: bool


def traced(model: PoseModel, inference: Inference, inputs: NetworkInputs) -> Program:
    """Return the graph of a network in evaluation mode, its batch norms folded.

    Raises:
        UsageError: the network's feature maps do not fit one another at the size.
        UnsupportedError: PyTorch cannot trace the method.
    """
    module = GraphModule(model, inference.flip)
    reads_padding = module.graph.reads_padding and inputs.size is not None
    example = example_inputs(inference, inputs, reads_padding=reads_padding)
    dimension = torch.export.Dim.DYNAMIC
    free: dict[int, object] = {} if inputs.batch else {0: dimension}
    images = free if inputs.size else {**free, 2: dimension, 3: dimension}
    shapes = (images, dict(free)) if reads_padding else (images,)
    try:
        with quiet(), torch.no_grad(), portable_operators():
            outputs = tuple(module(*example))
            exported = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # of a dozen types, from every part of the compiler
        height, width = example[0].shape[-2:]
        near_height, near_width = (_nearest_size(side) for side in (height, width))
        if inputs.size and (near_height, near_width) != inputs.size:
            raise UsageError(
                f"{model.config.method} with {model.config.backbone} takes heights and widths that "
                f"are multiples of {_STRIDE}, not {height}x{width}: choose --size "
                f"{near_height}x{near_width}."
            ) from error
        raise UnsupportedError(
            f"PyTorch cannot trace {model.config.method} with {model.config.backbone} at the size "
            f"{height}x{width} ({first_line(error)}): choose another with --size."
        ) from error
    return Program(exported, example, outputs, reads_padding)


def _nearest_size(side: int) -> int:
    return max(2, round(side / _STRIDE)) * _STRIDE


def example_inputs(
    inference: Inference, inputs: NetworkInputs, *, reads_padding: bool
) -> tuple[Tensor, ...]:
    """Return noise of the size that the network is traced with."""
    if inputs.size:
        height, width = inputs.size
    else:
        _, size = network_map(_USUAL_IMAGE, inference.resize, 1.0, 1.0)
        width, height = padded_size(size, size_multiple(inference.resize))
    count = inputs.batch or 2  # a dimension of 1 is taken for a fixed one
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, height, width, generator=generator)
    if not reads_padding:
        return (images,)
    padding = torch.zeros(count, height, width, dtype=torch.bool)
    padding[:, :, -1] = True
    return images, padding


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the warnings of exporters, which are about their own insides."""
    # The empty name is the root, to which ONNX Runtime's quantiser writes.
    names = ("", "torch", "torch.onnx", "onnxscript", "onnx_ir", "nncf")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_line(error: BaseException) -> str:
    """Return an error in one short line; of several, that of the first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def compiled_session(program: Program) -> Callable[..., Mapping[str, Tensor]]:
    """Return the graph compiled by torch.compile, with its weights frozen.

    It is compiled for each size when it is first used; an `UnsupportedError` says if it cannot be.

    Raises:
        UnsupportedError: there is no C++ compiler here.
    """
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    compiler = cpp_compiler()
    if shutil.which(compiler) is None:
        raise UnsupportedError(
            f"torch.compile needs a C++ compiler, and {compiler} is not installed: install g++, or "
            "name another in the environment variable CXX."
        )
    module = torch.compile(program.exported.module(), options={"freezing": True})

    def run(images: Tensor, padding: Tensor | None = None) -> Mapping[str, Tensor]:
        with quiet(), torch.no_grad():
            try:
                outputs: Mapping[str, Tensor] = module(images.contiguous())
            except TorchDynamoException as error:  # also of the compiler behind it
                raise UnsupportedError(
                    f"torch.compile cannot compile the network ({first_line(error)}): choose "
                    "another --backend."
                ) from error
            return outputs

    return run


def cpp_compiler() -> str:
    """Return the compiler that torch.compile calls."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
