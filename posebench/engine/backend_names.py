"""The names of backends, which a command checks before anything slow is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posebench.errors import unknown_name
from posebench.exporting.card import LIBRARIES, RUNTIMES, check_libraries, is_exported

if TYPE_CHECKING:
    from posebench.engine.checkpoint import Checkpoint

# Those that run exported files, and need a library for it.
EXPORTED = tuple(RUNTIMES[format] for format, libraries in LIBRARIES.items() if libraries)
BACKENDS = ("torch", "compile", *EXPORTED)


def format_run_by(backend: str) -> str:
    """Return the format of the files that a backend runs, one of `EXPORTED`."""
    return next(format for format, runtime in RUNTIMES.items() if runtime == backend)


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
    if name in EXPORTED and not (isinstance(model, str | Path) and is_exported(model)):
        check_libraries(format_run_by(name))


def backend_of(checkpoint: Checkpoint) -> str:
    """Return the name of what computes a checkpoint's network."""
    return str(getattr(checkpoint, "backend", "torch"))
