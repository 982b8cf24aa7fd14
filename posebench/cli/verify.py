"""`posebench verify`: checks cards, the papers' counts, and the printed AP of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    AnnotationsOption,
    DeviceOption,
    ImagesOption,
    JsonOption,
    LimitOption,
    RootOption,
    RunsOption,
    messages,
    out,
    print_rows,
    progress_bar,
)
from posebench.errors import PosebenchError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from posebench.bench.accuracy import CheckedAccuracy
    from posebench.bench.tables import CheckedClaim

_COLOURS = {
    "holds": "green",
    "near": "green",
    "explained": "cyan",
    "partial": "yellow",
    "fails": "bold red",
}


def verify(
    card: Annotated[
        str | None,
        typer.Argument(
            metavar="CARD",
            help="Card of `posebench card` or its folder, or a recipe with weights in the package: "
            "score its result file and predict again (default: check what the papers print).",
        ),
    ] = None,
    all_untested: Annotated[
        bool,
        typer.Option(
            "--untested", help="Also list every printed figure that counting cannot check."
        ),
    ] = False,
    accuracy: Annotated[
        bool,
        typer.Option(
            "--accuracy",
            help="Check the printed AP of the published checkpoints that are here instead, on the "
            "datasets that are here.",
        ),
    ] = False,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            help="With --accuracy: checkpoints or recipes, as shell patterns; repeat for others "
            "(default: all).",
        ),
    ] = None,
    limit: LimitOption = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="With CARD: the weights file, if it is not where the card says."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="With CARD: the result file, if it is not where the card says."),
    ] = None,
    data_root: RootOption = None,
    annotations: AnnotationsOption = None,
    images: ImagesOption = None,
    predict: Annotated[
        bool,
        typer.Option(
            help="With CARD: predict again and compare, or (--no-predict) only score the result "
            "file."
        ),
    ] = True,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Check a card, or what the papers print: counts, or AP; exit with 1 if anything fails."""
    if card is not None:
        if accuracy or all_untested or models or limit:
            raise UsageError(
                "--accuracy, --untested, --models and --limit check what papers print: leave them "
                "out, or leave out the card."
            )
        from posebench.bench.cards.places import Given
        from posebench.cli.verify_card import verify_card

        given = Given(weights, results, data_root, annotations, images)
        verify_card(card, given, device, predict=predict, json=json)
        return
    if weights or results or annotations or images or not predict:
        raise UsageError(
            "--weights, --results, --annotations, --images and --no-predict say how a card is "
            "checked: name the card, as in `posebench verify card.json`."
        )
    if accuracy:
        _verify_accuracy(models or (), limit, data_root, device, runs, json=json)
        return
    if models or limit:
        raise UsageError("--models and --limit belong to --accuracy.")
    import pandas as pd

    from posebench.bench import tables

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


def _verify_accuracy(
    patterns: Sequence[str],
    limit: int | None,
    data_root: Path | None,
    device: str,
    runs: Path,
    *,
    json: bool,
) -> None:
    """Evaluate published checkpoints, and print what each reaches beside what was printed."""
    from posebench.bench.accuracy import accuracy_rows, check_accuracy
    from posebench.published import choose_published

    entries = choose_published(patterns)
    with progress_bar() as bar:
        task = bar.add_task("evaluate", total=None, note="")
        checked = check_accuracy(
            entries,
            data_root=data_root,
            limit=limit,
            device=device,
            runs=runs,
            progress=lambda entry, done, total: bar.update(
                task, completed=done, total=total, note=entry.name
            ),
        )
    if json:
        print_rows(accuracy_rows(checked))
    else:
        _print_accuracy(checked)
    failed = [one.entry.name for one in checked if one.verdict == "fails"]
    if failed:
        raise PosebenchError(
            f"{len(failed)} of {len(checked)} checkpoints do not reach their printed AP: "
            f"{', '.join(failed)}. See docs/weights.md for what differs between code bases."
        )


def _print_accuracy(checked: list[CheckedAccuracy]) -> None:
    from rich.table import Table

    table = Table("checkpoint", title="AP of published checkpoints", title_justify="left")
    for name in ("printed", "measured", "95 % interval", "images"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for one in checked:
        if one.interval is None:
            continue
        low, high = 100 * one.interval.low, 100 * one.interval.high
        colour = _COLOURS[one.verdict]
        table.add_row(
            one.entry.name, f"{one.entry.ap:.1f}", f"{one.measured:.1f}",
            f"{low:.1f} to {high:.1f}", str(one.images), f"[{colour}]{one.verdict}[/]",
        )  # fmt: skip
    if table.row_count:
        out.print(table)
    if any(one.verdict == "partial" for one in checked):
        messages.print(
            "[yellow]partial:[/] measured on part of the split, so it can neither confirm nor "
            "refute the printed AP.",
            soft_wrap=True,
        )
    untested = [one for one in checked if one.verdict == "untested"]
    if untested:
        messages.print(f"Not tested, since weights or data are not here ({len(untested)}):")
    for one in untested:
        messages.print(f"  {one.entry.name}, printed {one.entry.ap:.1f}:", soft_wrap=True)
        for need in one.needs:
            messages.print(f"    {escape(need)}", soft_wrap=True)
