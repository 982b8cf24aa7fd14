"""A run's log: a JSON object per line, for every optimizer step and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from posebench.engine.runs import resume_command
from posebench.errors import PosebenchError
from posebench.files import atomic_write


class Log:
    """`log.jsonl`: a JSON object per line, one line per event."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, entry: dict[str, Any]) -> None:
        """Append an entry.

        Raises:
            PosebenchError: the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise PosebenchError(
                f"{self.path} cannot be written ({error.strerror}): fix that, then continue with: "
                f"{resume_command(self.path.parent)}"
            ) from error

    def read(self) -> list[dict[str, Any]]:
        """Return the entries; a line that a crash cut short is skipped."""
        entries = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return entries

    def cut(self, step: int, evaluated: int) -> None:
        """Remove the entries of steps after `step` and of evaluations after step `evaluated`."""
        kept = [
            entry
            for entry in self.read()
            if entry.get("step", 0) <= (evaluated if "metrics" in entry else step)
        ]
        with atomic_write(self.path) as beside:
            beside.write_text("".join(json.dumps(e) + "\n" for e in kept), encoding="utf-8")


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's log, in order."""
    return Log(run / "log.jsonl").read()
