"""`posebench weights`: convert published checkpoints, and pack trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    JsonOption,
    RootOption,
    messages,
    out,
    print_rows,
    progress_bar,
    to_file,
    to_folder,
)

if TYPE_CHECKING:
    from posebench.published import Published

app = typer.Typer(
    help="List, download and convert published weights, and pack your own to share them.",
    no_args_is_help=True,
)


@app.command("list")
def list_weights(json: JsonOption = False) -> None:
    """List the published checkpoints that fit a recipe: printed AP, size, and what is here."""
    from dataclasses import asdict

    from posebench.cli.columns import Column, print_columns
    from posebench.downloads.cache import cache_folder
    from posebench.published import registry

    entries = list(registry().values())
    if json:
        rows = [
            asdict(entry)
            | {"recipe": entry.recipe, "here": entry.here, "settings": " ".join(entry.settings)}
            for entry in entries
        ]
        print_rows(rows)
        return
    print_columns(
        [
            Column("checkpoint", [entry.name for entry in entries], numeric=False),
            Column("AP", [f"{entry.ap:.1f}" for entry in entries]),
            Column("on", [f"{e.dataset} {e.split}" for e in entries], numeric=False, gives_way=2),
            Column("MB", [_megabytes(entry) for entry in entries], gives_way=1),
            Column("weights", [_state(entry) for entry in entries], numeric=False),
        ],
        "A wider terminal shows all columns.",
    )
    out.print()
    out.print(
        "AP: as printed, with the flip test where the source used it. Commands take a checkpoint's "
        "name, or its recipe's, and download what is missing; of those by hand they say where to "
        "get the file and where to put it. `posebench models NAME` shows sources and licences. "
        f"Files lie in {escape(str(cache_folder()))}.",
        soft_wrap=True,
    )


def _megabytes(entry: Published) -> str:
    size = entry.bytes / 1e6 or entry.megabytes
    return f"{size:.0f}" if size else ""


def _state(entry: Published) -> str:
    if entry.here:
        return "here"
    return "to download" if entry.url else "by hand"


@app.command("download")
def download_weights(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Checkpoints, recipes, shell patterns, or `all`."),
    ],
) -> None:
    """Download published checkpoints, and check that each fits its recipe."""
    from posebench.engine.weights import fetch_published
    from posebench.errors import ModelError
    from posebench.published import choose_published, find_published

    by_name = [find_published(name) or name for name in names if name != "all"]
    chosen = [one for one in by_name if not isinstance(one, str)]
    patterns = [one for one in by_name if isinstance(one, str)]
    if "all" in names or patterns:
        found = choose_published(patterns if "all" not in names else ())
        chosen += [entry for entry in found if entry.url or entry.here]
        by_hand = [entry for entry in found if not entry.url and not entry.here]
        if not chosen and by_hand:
            raise ModelError(f"{by_hand[0].name}: {by_hand[0].by_hand()}.")
        for entry in by_hand:
            messages.print(f"{entry.name}: {escape(entry.by_hand())}.", soft_wrap=True)
    failed: dict[str, ModelError] = {}
    wanted = list(dict.fromkeys(chosen))
    for entry in wanted:
        try:
            fetch_published(entry)
        except ModelError as error:
            if len(wanted) == 1:
                raise
            failed[entry.name] = error
            messages.print(f"[red]failed[/] {escape(str(error))}", soft_wrap=True)
        else:
            out.print(escape(str(entry.path)), soft_wrap=True)
    if failed:
        raise ModelError(
            f"{len(failed)} of {len(wanted)} checkpoints could not be had: {', '.join(failed)}. "
            "The messages above say why."
        )


@app.command("import")
def import_weights(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Checkpoint of the authors' code or of MMPose (.pth, .pth.tar)."
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe that the checkpoint was trained with (default: the only one that fits)."
        ),
    ] = None,
    join: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The rest of the network's tensors, such as DEKR's scoring net."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=to_file, help="Output file (default: weights/RECIPE.safetensors)."
        ),
    ] = None,
) -> None:
    """Convert a published checkpoint; all parameter names and shapes are checked."""
    from posebench.errors import UsageError, unknown_name
    from posebench.models import RECIPES

    if recipe is not None and recipe not in RECIPES:
        raise unknown_name("recipe", recipe, RECIPES)
    chosen = RECIPES[recipe] if recipe else None
    if chosen and chosen.skeleton is None:
        raise UsageError(f"{recipe} has no published weights: choose a recipe of a dataset.")
    from posebench.engine.weights import import_published

    imported = import_published(file, chosen, to, join=join)
    messages.print(
        f"Converted {len(imported.weights)} tensors of {imported.facts['release']} for "
        f"{imported.recipe.name}. Use them: posebench eval {escape(str(imported.path))}",
        soft_wrap=True,
    )
    out.print(escape(str(imported.path)), soft_wrap=True)


@app.command("pack")
def pack(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a finished training.")],
    to: Annotated[
        Path,
        typer.Option(
            "--out", callback=to_folder, help="Folder for RECIPE.safetensors and RECIPE.json."
        ),
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
