"""What published checkpoints reached here, kept in the run folders that measured it.

`verify --accuracy` writes a row for each evaluation; `posebench tables published` shows the newest
of each checkpoint beside the printed AP.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from posebench.files import write_json
from posebench.published import registry

ROW = "published.json"

# Columns of the ledger; those behind `printed` are empty where nothing was measured.
COLUMNS = (
    "checkpoint", "source", "dataset", "split", "printed", "measured", "low", "high", "images",
    "verdict", "hardware", "versions", "date", "run",
)  # fmt: skip


def write_row(run: Path, row: dict[str, Any], hardware: str) -> None:
    """Keep a row of `accuracy_rows` in the run folder that measured it.

    Args:
        run: its folder, which has an `environment.json`.
        row: the checkpoint, its printed AP and the measured one, in percent.
        hardware: on which it was measured.
    """
    environment = json.loads((run / "environment.json").read_text())
    versions = ", ".join(f"{name} {found}" for name, found in environment["packages"].items())
    made = {"hardware": hardware, "versions": versions, "date": environment["time"]}
    write_json(run / ROW, {**row, **made})


def read_ledger(runs: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """Return a row for each published checkpoint, and files that cannot be read.

    Of several measurements the newest on the most images counts.

    Args:
        runs: the folder of the run folders; a missing one counts as empty.
    """
    newest: dict[str, dict[str, Any]] = {}
    unreadable = []
    for path in sorted(runs.rglob(ROW)) if runs.is_dir() else ():
        try:
            row = json.loads(path.read_text())
            own = {
                **{name: row[name] for name in COLUMNS if name != "run"},
                "run": str(path.parent),
            }
            before = newest.get(own["checkpoint"])
            if before is None or _rank(own) > _rank(before):
                newest[own["checkpoint"]] = own
        except (OSError, ValueError, KeyError, TypeError):
            unreadable.append(path)
    rows = []
    for entry in registry().values():
        printed = {
            "checkpoint": entry.name, "source": entry.source, "dataset": entry.dataset,
            "split": entry.split, "printed": entry.ap,
        }  # fmt: skip
        measured = newest.get(entry.name, dict.fromkeys(COLUMNS))
        rows.append({**measured, **printed, "verdict": measured["verdict"] or "untested"})
    return rows, unreadable


def _rank(row: dict[str, Any]) -> tuple[int, str]:
    return int(row["images"]), str(row["date"])
