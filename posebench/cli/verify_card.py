"""What `posebench verify CARD` prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from posebench.cli.common import messages, out, print_rows, progress_bar
from posebench.errors import DataError, PosebenchError
from posebench.shipped import FOLDER, shipped_weights

if TYPE_CHECKING:
    from posebench.bench.cards import CardCheck
    from posebench.bench.cards.places import Given

_COLOURS = {"holds": "green", "fails": "bold red", "untested": "yellow"}


def verify_card(place: str, given: Given, device: str, *, predict: bool, json: bool) -> None:
    """Check a card, print what became of it, and raise an error if anything fails.

    Args:
        place: path of a card or of the folder that has it, or a recipe whose weights come with the
            package.
        given: where its files and data are.
        device: to predict on.
        predict: False: scores alone are checked.
        json: print rows.

    Raises:
        PosebenchError: something that the card says does not hold.
        DataError: nothing of it could be checked.
    """
    path = Path(place)
    if not path.exists() and shipped_weights(place):
        path = FOLDER / f"{place}.json"
    from posebench.bench.cards import check_card

    with progress_bar() as bar:
        task = bar.add_task("predict", total=None, note="")
        check = check_card(
            path,
            given,
            device=device,
            predict=predict,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if json:
        print_rows([{"model": check.card.model.name, **asdict(part)} for part in check.parts])
    else:
        _print(check)
    failed = [part.name for part in check.parts if part.verdict == "fails"]
    if failed:
        raise PosebenchError(
            f"The card {path} does not hold here: {', '.join(failed)}. The table says what was "
            "expected and found; docs/cards.md says what can differ."
        )
    if not any(part.verdict == "holds" for part in check.parts):
        raise DataError(
            f"Nothing of the card {path} could be checked: see above for what it needs."
        )


def _print(check: CardCheck) -> None:
    from rich.table import Table

    card = check.card
    title = f"{card.model.name} on {card.dataset} {card.split}"
    table = Table("", title=escape(title), title_justify="left")
    for name in ("card", "here"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("")
    for part in check.parts:
        note = part.note if part.verdict == "holds" else ""
        table.add_row(
            part.name, escape(part.card), escape(part.here),
            f"[{_COLOURS[part.verdict]}]{part.verdict}[/]", escape(note.rstrip(".")),
        )  # fmt: skip
    out.print(table)
    for part in check.parts:
        if part.verdict != "holds":
            out.print(f"{part.name}: {escape(part.note)}", soft_wrap=True)
    if check.differences:
        out.print("What differs, so that predictions need to agree within 0.1 only:")
        for line in check.differences:
            out.print(f"  {escape(line)}", soft_wrap=True)
    if check.shown:
        messages.print(f"Not verified: {escape('; '.join(check.shown))}.", soft_wrap=True)
