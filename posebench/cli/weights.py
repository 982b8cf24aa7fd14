"""`posebench weights`: convert published checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from posebench.cli.common import messages, out

app = typer.Typer(help="Weights published by the authors.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `import` a subcommand: typer would merge a single command into its group."""


@app.command("import")
def import_weights(
    file: Annotated[
        Path, typer.Argument(help="Checkpoint saved by the authors' code (.pth, .pth.tar).")
    ],
    recipe: Annotated[str, typer.Option(help="Recipe that the checkpoint was trained with.")],
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Output file (default: weights/RECIPE.safetensors)."),
    ] = None,
) -> None:
    """Convert a published checkpoint; all parameter names and shapes are checked."""
    from posebench.errors import UsageError, unknown_name
    from posebench.models import RECIPES

    if recipe not in RECIPES:
        raise unknown_name("recipe", recipe, RECIPES)
    chosen = RECIPES[recipe]
    if chosen.skeleton is None:
        raise UsageError(f"{recipe} has no published weights: choose a recipe of a dataset.")
    from posebench.engine.weights import import_published

    target = to or Path("weights") / f"{recipe}.safetensors"
    count = import_published(file, chosen, target)
    messages.print(
        f"Converted {count} tensors. Use them: posebench eval {escape(str(target))}",
        soft_wrap=True,
    )
    out.print(escape(str(target)), soft_wrap=True)
