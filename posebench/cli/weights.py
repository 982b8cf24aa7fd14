"""`posebench weights`: convert published checkpoints, and pack trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from posebench.cli.common import RootOption, messages, out, progress_bar

app = typer.Typer(
    help="Convert the authors' weights, and pack your own to share them.", no_args_is_help=True
)


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


@app.command("pack")
def pack(
    run: Annotated[Path, typer.Argument(help="Run folder of a finished training.")],
    to: Annotated[
        Path, typer.Option("--out", help="Folder for RECIPE.safetensors and RECIPE.json.")
    ] = Path("weights"),
    data_root: RootOption = None,
) -> None:
    """Write a run's best weights in half precision, and a card with their origin and AP."""
    import posebench
    from posebench.bench.packing import pack_weights
    from posebench.engine import read_checkpoint

    best = read_checkpoint(run)
    data = posebench.open_dataset(
        best.trained_on, data_root=data_root, skeleton=best.recipe.skeleton
    )
    with progress_bar() as bar:
        task = bar.add_task("evaluate", total=len(data), note="")
        card = pack_weights(
            run, data, to, progress=lambda done, total: bar.update(task, completed=done)
        )
    path = to / f"{card.recipe}.safetensors"
    messages.print(
        f"{card.recipe}: AP {card.ap} [{card.ap_low}, {card.ap_high}] on {card.images} images of "
        f"{card.dataset} {card.split}, {path.stat().st_size / 1e6:.1f} MB",
        soft_wrap=True,
    )
    out.print(escape(str(path)), soft_wrap=True)
