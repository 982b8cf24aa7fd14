"""Where the parity fixtures lie, and which cases a folder holds."""

from __future__ import annotations

import os
from pathlib import Path

_TESTS = Path(__file__).resolve().parent


def parity_folder(method: str) -> Path | None:
    """Return the method's fixture folder, or None where there is none.

    Raises:
        NotADirectoryError: `POSEBENCH_PARITY` names no folder; skipping would look like success.
    """
    named = os.environ.get("POSEBENCH_PARITY")
    if named and not Path(named).is_dir():
        raise NotADirectoryError(f"POSEBENCH_PARITY is {named!r}, which is not a folder.")
    shared = _TESTS.parents[2] / "shared" / "parity"
    root = Path(named) if named else shared if shared.is_dir() else _TESTS / "data"
    folder = root / method
    return folder if folder.is_dir() else None


def cases(method: str, pattern: str) -> list[Path]:
    """Return the method's cases whose path matches, in order of name."""
    folder = parity_folder(method)
    return sorted(folder.glob(pattern)) if folder else []
