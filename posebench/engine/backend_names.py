"""The names of backends, which a command checks before anything slow is imported."""

from __future__ import annotations

from pathlib import Path
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


def check_installed(name: str, model: object) -> None:
    """Check that a backend can run a model here, before anything is computed.

    Args:
        name: of the backend.
        model: what `load_model` takes or returns; an exported file has its backend already.

    Raises:
        UnsupportedError: its library is not installed.
    """
    from posebench.exporting.card import check_libraries, is_exported

    if name in FORMATS and not (isinstance(model, str | Path) and is_exported(model)):
        check_libraries(FORMATS[name])


def backend_of(checkpoint: Checkpoint) -> str:
    """Return the name of what computes a checkpoint's network."""
    return str(getattr(checkpoint, "backend", "torch"))
