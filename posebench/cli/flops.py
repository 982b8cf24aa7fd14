"""`posebench flops`: parameters, MACs and FLOPs of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from posebench.cli.common import JsonOption, RunsOption, messages, out, print_rows

if TYPE_CHECKING:
    from posebench.bench.flops import Audit

ModelsOption = Annotated[
    str,
    typer.Option(
        "--models",
        help="Comma-separated recipes, methods, backbones or parts of names (`tiny`), or `all`.",
    ),
]
TreeOption = Annotated[bool, typer.Option("--tree", help="Count operations, also for each module.")]
DepthOption = Annotated[
    int, typer.Option("--depth", min=1, help="Number of module levels that --tree shows.")
]

_GIGA = 1e9


def flops(
    models: ModelsOption = "all",
    people: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of people in the image; matters to networks that compute per person.",
        ),
    ] = 1,
    tree: TreeOption = False,
    depth: DepthOption = 2,
    json: JsonOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Count the parameters, MACs and FLOPs of models, operator by operator."""
    count_flops(models, people, depth if tree else 0, json, runs)


def count_flops(models: str, people: int, depth: int, json: bool, runs: Path) -> None:
    """Count the operations of models, print them, and write them into a run folder.

    Args:
        models: comma-separated, see `select_recipes`.
        people: in the image.
        depth: levels of modules to print and write; 0: none.
        json: print rows as JSON instead of tables.
        runs: folder in which the run folder is made.
    """
    from posebench.bench.selection import select_recipes

    recipes = select_recipes([word.strip() for word in models.split(",")])

    import pandas as pd

    from posebench import engine
    from posebench.bench.flops import audit

    run = engine.new_run(runs, "speed", models.replace(",", "+")[:60], "flops")
    tables = []
    for recipe in recipes:
        counted = audit(recipe, people=people)
        tables.append(counted.rows(depth))
        if not json:
            _print(counted, depth)
    rows = pd.concat(tables, ignore_index=True)
    engine.write_results(run, rows)
    if json:
        print_rows(rows)
    messages.print(f"Written to {escape(str(run))}", soft_wrap=True)


def _print(audit: Audit, depth: int) -> None:
    name, count = audit.recipe.name, audit.executed
    conditions = f"{audit.size[0]}x{audit.size[1]}, {audit.people} people"
    out.print(
        f"[bold]{name}[/], {conditions}: "
        f"{count.macs / _GIGA:.2f} GMACs, {count.flops / _GIGA:.2f} GFLOPs "
        f"({audit.flops_folded / _GIGA:.2f} with batch norms folded), "
        f"{audit.macs_as_written / _GIGA:.2f} GMACs by the paper's equations, "
        f"{count.parameters / 1e6:.2f} M parameters",
        soft_wrap=True,
    )
    table = Table("operator", "calls", "GMACs", "GFLOPs")
    for operator in count.operators:
        table.add_row(
            operator.name, str(operator.calls), f"{operator.macs / _GIGA:.4f}",
            f"{operator.flops / _GIGA:.4f}",
        )  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    out.print(table)
    uncounted = ", ".join(f"{operator} ({calls})" for operator, calls in count.uncounted)
    out.print(
        f"Operators without a formula, with their calls: {uncounted or 'none'}", soft_wrap=True
    )
    if depth:
        _print_tree(audit, depth)


def _print_tree(audit: Audit, depth: int) -> None:
    count = audit.executed
    table = Table("module", "class", "params M", "GMACs", "GFLOPs", "share of MACs")
    for column in table.columns[2:]:
        column.justify = "right"
    for level, path, module in count.tree.walk(depth):
        table.add_row(
            "  " * level + (path.rpartition(".")[2] or audit.recipe.name), module.kind,
            f"{module.parameters / 1e6:.2f}", f"{module.macs / _GIGA:.3f}",
            f"{module.flops / _GIGA:.3f}", f"{100 * module.macs / max(count.macs, 1):.1f} %",
        )  # fmt: skip
    out.print(table)
