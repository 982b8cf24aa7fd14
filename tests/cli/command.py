"""The command line within this process: as a shell sees it, but without its start-up time."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from posebench.cli import main

# One step of two small images.
TINY = (
    "--set", "epochs=1", "--set", "augment.size=64", "--set", "inference.resize.short_side=64",
    "--set", "batch_size=4", "--set", "micro_batch_size=4", "--workers", "0", "--device", "cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a command left in the shell."""

    code: int
    out: str
    err: str


def run(*words: str | Path) -> Result:
    """Run `posebench WORDS` and return its exit code and what it said."""
    out, err = io.StringIO(), io.StringIO()
    code: int | str | None = 0
    with (
        mock.patch("sys.argv", ["posebench", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    assert code is None or isinstance(code, int)
    return Result(code or 0, out.getvalue(), err.getvalue())


def only(folder: Path, pattern: str) -> Path:
    """Return the one path below a folder that matches."""
    (path,) = folder.glob(pattern)
    return path
