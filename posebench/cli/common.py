"""What the commands share: consoles, options and the words for results."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from posebench.engine.evaluate import Evaluation

# Of several processes (`torchrun`) the first one speaks.
PROCESS = int(os.environ.get("RANK", "0"))
# Results go to stdout, everything else to stderr. A pipe has no width, so nothing is cut for it.
out = Console(width=None if Console().is_terminal else 200, highlight=False, quiet=PROCESS > 0)
messages = Console(stderr=True, highlight=False, quiet=PROCESS > 0)

DatasetOption = Annotated[str, typer.Option("--dataset", help="Dataset: `posebench data list`.")]
RootOption = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder that holds the datasets' [$POSEBENCH_DATA, ./data]."),
]
SplitOption = Annotated[str | None, typer.Option("--split", help="Split [the dataset's usual].")]
AnnotationsOption = Annotated[
    Path | None, typer.Option("--annotations", help="Annotation file instead of the split's own.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="field=value of the recipe, e.g. epochs=20 or augment.size=384."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=0, help="Processes that load images [none on a CPU, 8 beside a GPU]."
    ),
]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help="fp32, or bf16 (losses stay in fp32).")
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Stop at the first image that cannot be read.")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder for run folders.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object of tidy rows.")]


def say_renamed(settings: Sequence[str] | None) -> None:
    """Say by which name a recipe field goes now, where `--set` uses the one it had before."""
    from posebench.recipe import current_name

    for assignment in settings or ():
        path = assignment.partition("=")[0]
        if current_name(path) != path:
            messages.print(f"{path} is called {current_name(path)} now.", soft_wrap=True)


def progress_bar() -> Progress:
    """Return a bar on stderr, shown on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=messages,
        disable=not messages.is_terminal,
        transient=True,
    )


def print_rows(rows: pd.DataFrame) -> None:
    """Print tidy rows as the one JSON object that every command's `--json` gives."""
    # Through pandas' own writer, since JSON has no NaN.
    records = json.loads(rows.to_json(orient="records"))
    typer.echo(json.dumps({"schema_version": 1, "rows": records}))


def print_metrics(title: str, evaluation: Evaluation) -> None:
    """Print the overall metrics in one table and those of keypoints, side by side, in another."""
    overall = {k: v for k, v in evaluation.metrics.items() if "/" not in k}
    out.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
    table = Table()
    for name in overall:
        table.add_column(name, justify="right")
    table.add_row(*(percent(value) for value in overall.values()))
    out.print(table)

    parts: dict[str, dict[str, float]] = {}
    metric = ""
    for name, value in evaluation.metrics.items():
        before, slash, keypoint = name.partition("/")
        if slash:
            metric = before
            side, _, part = keypoint.partition("_")
            side, part = (side, part) if side in ("left", "right") else ("", keypoint)
            parts.setdefault(part, {})[side] = value
    table = Table(f"{metric} of", "left", "right", "")
    for column in table.columns[1:]:
        column.justify = "right"
    for part, sides in parts.items():
        table.add_row(part, *(percent(sides.get(side)) for side in ("left", "right", "")))
    out.print(table)


def percent(value: float | None) -> str:
    """Return a fraction as tables show it; -1 is the official tools' "nothing to find"."""
    if value is None:
        return ""
    return "–" if value < 0 else f"{100 * value:.1f}"


def print_unreadable(evaluation: Evaluation) -> None:
    """Print which images could not be read, and how many."""
    for image in evaluation.unreadable:
        messages.print(f"[yellow]skipped[/] {escape(image.message)}", soft_wrap=True)
    if evaluation.unreadable:
        messages.print(
            f"{len(evaluation.unreadable)} of {evaluation.images} images could not be read; their "
            "people count as missed. --strict stops at the first.",
            soft_wrap=True,
        )
