"""`posebench verify`: checks the parameter and FLOP counts that the papers claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import JsonOption, messages, out, print_rows, progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from posebench.bench.tables import CheckedClaim

_COLOURS = {"holds": "green", "explained": "cyan", "fails": "bold red"}


def verify(
    all_untested: Annotated[
        bool,
        typer.Option(
            "--untested", help="Also list every printed figure that counting cannot check."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check the parameter and FLOP counts that the papers claim; exit with 1 if one fails."""
    import pandas as pd

    from posebench.bench import tables
    from posebench.errors import PosebenchError

    claims = tables.read_claims()
    with progress_bar() as bar:
        task = bar.add_task("count", total=len(claims), note="")
        checked = tables.check_claims(
            claims, lambda claim: bar.update(task, advance=1, note=claim.recipe)
        )
    untested = tables.list_untested()
    if json:
        print_rows(pd.concat([tables.claim_rows(checked), tables.untested_rows(untested)]))
    else:
        _print(checked)
        _print_untested(pd.DataFrame(untested), complete=all_untested)
    failed = [one.claim.id for one in checked if one.verdict == "fails"]
    if failed:
        raise PosebenchError(
            f"{len(failed)} of {len(checked)} claims fail: {', '.join(failed)}. A network or the "
            "counter has changed, or claims.toml is wrong: see docs/tables.md."
        )


def _print(checked: list[CheckedClaim]) -> None:
    from rich.table import Table

    table = Table("claim", "source", title="Claims about cost", title_justify="left")
    for name in ("printed", "counted"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for one in checked:
        claim = one.claim
        printed = "" if claim.printed is None else f"{claim.printed:g}"
        count = "" if one.count is None else f"{one.count:.2f}"
        colour = _COLOURS.get(one.verdict, "default")
        table.add_row(
            escape(claim.claim), escape(claim.source), printed, count,
            f"[{colour}]{one.verdict}[/]",
        )  # fmt: skip
    out.print(table)
    for one in checked:
        if one.verdict == "explained":
            out.print(f"{escape(one.claim.id)}: {escape(one.claim.explanation)}", soft_wrap=True)
    counts: dict[str, int] = {}
    for one in checked:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    messages.print(f"{len(checked)} claims: {summary}.")


def _print_untested(untested: pd.DataFrame, *, complete: bool) -> None:
    from rich.table import Table

    table = Table("table", "figures", title="Not tested here", title_justify="left")
    if complete:
        for name in ("row", "printed", "recipe"):
            table.add_column(name)
    table.add_column("needs")
    if complete:
        for row in untested.to_dict("records"):
            table.add_row(
                *(escape(str(row[name])) for name in ("table", "figure", "row", "printed")),
                escape(row["recipe"]), escape(row["needs"]),
            )  # fmt: skip
    else:
        for (source, needs), own in untested.groupby(["table", "needs"], sort=False):
            figures = ", ".join(dict.fromkeys(own["figure"]))
            words = (str(source), f"{len(own)} of {figures}", str(needs))
            table.add_row(*map(escape, words))
    out.print(table)
