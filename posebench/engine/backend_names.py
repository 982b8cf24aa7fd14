"""The names of backends, which a command checks before anything slow is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench.errors import unknown_name

if TYPE_CHECKING:
    from posebench.engine.checkpoint import Checkpoint

FORMATS = {"onnxruntime": "onnx", "openvino": "openvino"}  # backend -> what it runs
BACKENDS = ("torch", "compile", *FORMATS)


def check_backend(name: str, *, auto: bool = True) -> None:
    """Check the name of a backend.

    Raises:
        UsageError: there is none of that name.
    """
    known = (*BACKENDS, "auto") if auto else BACKENDS
    if name not in known:
        raise unknown_name("backend", name, known)


def backend_of(checkpoint: Checkpoint) -> str:
    """Return the name of what computes a checkpoint's network."""
    return str(getattr(checkpoint, "backend", "torch"))
