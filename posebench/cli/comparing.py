"""What `compare` and `analyze` share: their options, and the files that they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import messages, out, progress_bar, to_file, to_folder

if TYPE_CHECKING:
    import pandas as pd

    from posebench.api.comparison import Comparison, ErrorAnalysis

NamedDataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="Dataset (default: what --annotations look like, or the one that the runs name).",
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report", callback=to_file, help="Write one HTML page that needs no other file."
    ),
]
TablesOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        callback=to_folder,
        help="Folder for all tables, tidy, as CSV (default: none are written).",
    ),
]
DrawsOption = Annotated[
    int, typer.Option("--draws", help="Resamples of the images, for intervals and tests.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the resamples.")]
BatchOption = Annotated[
    int, typer.Option("--batch-size", min=1, help="Images per forward pass of a model.")
]


@contextmanager
def predicting() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each model that predicts first."""
    with progress_bar() as bar:
        tasks = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(f"predict {name}", total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield show


def say_sentences(scored: Comparison | ErrorAnalysis) -> None:
    """Print what the numbers say, and notes about the files."""
    for sentence in scored.sentences:
        out.print(escape(sentence), soft_wrap=True)
    for one in scored.entrants:
        if one.note:
            messages.print(f"note: {escape(one.note)}", soft_wrap=True)


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write tidy tables as CSV."""
    from posebench.files import atomic_write

    for name, rows in tables.items():
        with atomic_write(folder / f"{name}.csv") as beside:
            rows.to_csv(beside, index=False)


def write_outputs(
    scored: Comparison | ErrorAnalysis, folder: Path | None, report: Path | None
) -> None:
    """Write the tables and the page that are asked for, and say where."""
    if folder is not None:
        write_tables(scored.tables, folder)
        messages.print(f"Written to {escape(str(folder))}: {', '.join(scored.tables)} as CSV.")
    if report is not None:
        scored.report(report)
        messages.print(f"Written to {escape(str(report))}", soft_wrap=True)
