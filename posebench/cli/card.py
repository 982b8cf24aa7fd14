"""`posebench card`: the numbers of a run as a file that can be handed on and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from posebench.cli.common import messages, out, to_folder


def card(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder of `eval`, or of a finished training.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            callback=to_folder,
            help="Folder for the card, the weights and the result file, to be handed on as it is "
            "(default: the card alone, in the run folder).",
        ),
    ] = None,
    speed: Annotated[
        Path | None,
        typer.Option(help="Run folder of `speed` whose times and memory the card also shows."),
    ] = None,
) -> None:
    """Write a run's card: card.json, which `verify` checks, and README.md for a model hub."""
    from posebench.bench.cards import make_card

    made = make_card(run, to, speed)
    folder = to or run
    name, value = made.main
    shown = "nobody annotated" if value < 0 else f"{name} {100 * value:.1f}"
    messages.print(
        f"{made.model.name}: {shown} on {escape(made.dataset)} {escape(made.split)}. "
        f"Check it: posebench verify {escape(str(folder / 'card.json'))}",
        soft_wrap=True,
    )
    out.print(escape(str(folder / "card.json")), soft_wrap=True)
    out.print(escape(str(folder / "README.md")), soft_wrap=True)
