"""`posebench speed`: how long models take, what memory, and how many operations."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from posebench.cli.common import (
    DeviceOption,
    JsonOption,
    RunsOption,
    messages,
    out,
    print_rows,
    progress_bar,
)

if TYPE_CHECKING:
    import pandas as pd

    from posebench.bench.flops import Audit
    from posebench.bench.speed import SpeedOptions
    from posebench.recipe import Recipe

_PROTOCOLS = ("forward", "end-to-end", "paper")
_PRECISIONS = ("fp32", "bf16", "fp16")


def speed(
    models: Annotated[
        str,
        typer.Option(
            help="all, or recipes, methods, backbones, words as `tiny`, with commas between."
        ),
    ] = "all",
    protocol: Annotated[
        str,
        typer.Option(help="What is compared: forward, end-to-end, or paper (as each paper did)."),
    ] = "end-to-end",
    people: Annotated[
        str | None, typer.Option(help="People on the pictures; several, e.g. 1,5,20,50: a plot.")
    ] = None,
    alternatives: Annotated[
        bool,
        typer.Option("--alternatives", help="Time the ways that a paper compares a stage with."),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A quarter of the time: fewer and shorter rounds.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(min=0.0, help="Seconds for each model, if three rounds fit [60; 15]."),
    ] = None,
    device: DeviceOption = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a pass.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile networks with torch.compile.")
    ] = False,
    channels_last: Annotated[
        bool, typer.Option(help="Lay images out channel by channel last, as eval does.")
    ] = True,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of each process on a CPU [PyTorch's choice].")
    ] = 0,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run folder: leave out what it has.")
    ] = None,
    flops: Annotated[
        bool, typer.Option("--flops", help="Count operations instead of timing.")
    ] = False,
    tree: Annotated[
        bool, typer.Option("--tree", help="With --flops, also module by module.")
    ] = False,
    depth: Annotated[int, typer.Option(min=1, help="Levels of the tree.")] = 2,
    json: JsonOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Time models against one another, each in a process of its own; or count their operations."""
    import torch

    from posebench.bench.choose import choose
    from posebench.bench.session import with_alternatives
    from posebench.bench.speed import FULL, QUICK, SpeedOptions
    from posebench.engine import pick_device
    from posebench.errors import UsageError, unknown_name

    for kind, name, known in (
        ("protocol", protocol, _PROTOCOLS), ("precision", precision, _PRECISIONS),
    ):  # fmt: skip
        if name not in known:
            raise unknown_name(kind, name, known)
    recipes = choose([word.strip() for word in models.split(",")])
    numbers = _people(people) if people else None
    if flops or tree:
        _audit(recipes, models, runs, (numbers or (1,))[0], depth if tree else 0, json)
        return
    if alternatives:
        recipes = with_alternatives(recipes)
    if protocol == "paper" and batch_size > 1:
        raise UsageError("Papers time one image at a time: leave out --batch-size.")
    place = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    schedule = QUICK if quick else FULL
    options = SpeedOptions(
        protocol=protocol,  # type: ignore[arg-type]
        people=numbers or SpeedOptions().people,
        device=place,
        precision=precision,  # type: ignore[arg-type]
        batch_size=batch_size,
        compiled=compiled,
        channels_last=channels_last,
        threads=threads,
        alternatives=alternatives,
        schedule=schedule if budget is None else replace(schedule, budget_s=budget),
    )
    run = _run_folder(resume, runs, models, protocol)
    rows = _timed(recipes, options, run)
    _draw(rows, run, several=len(options.people) > 1, parts=not alternatives)
    if json:
        print_rows(rows)
    else:
        _print(rows)
    messages.print(f"Written to {escape(str(run))}", soft_wrap=True)


def _people(text: str) -> tuple[int, ...]:
    from posebench.errors import UsageError

    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(f"--people expects numbers above 0 with commas between, not {text!r}.")
    return tuple(dict.fromkeys(numbers))


def _run_folder(resume: Path | None, runs: Path, models: str, kind: str) -> Path:
    from posebench import engine
    from posebench.engine.runs import environment
    from posebench.errors import UsageError
    from posebench.files import write_json

    if resume is None:
        return engine.new_run(runs, "speed", models.replace(",", "+")[:60], kind)
    if not (resume / "environment.json").is_file():
        raise UsageError(f"Expected the folder of a run of speed at {resume}: nothing is there.")
    number = len(list(resume.glob("environment*.json"))) + 1
    write_json(resume / f"environment-{number}.json", environment())
    return resume


def _timed(recipes: list[Recipe], options: SpeedOptions, run: Path) -> pd.DataFrame:
    from posebench.bench.session import timed_run

    messages.print(f"{len(recipes)} models take turns: {escape(str(run))}", soft_wrap=True)
    with progress_bar() as bar:
        task = bar.add_task("speed", total=None, note="")

        last = ""

        def tell(name: str, what: str) -> None:
            nonlocal last
            bar.update(task, advance=1, note=f"{name}: {what}")
            # A log, which has no bar, gets a line for every model that is made and every round.
            if what.startswith("failed") or not (messages.is_terminal or what == last):
                messages.print(f"{escape(name)}: {escape(what)}", soft_wrap=True)
            last = "" if what == "prepares" else what

        try:
            return timed_run(recipes, options, run, tell=tell)
        except KeyboardInterrupt:
            messages.print(f"Go on later with --resume {escape(str(run))}", soft_wrap=True)
            raise


def _draw(rows: pd.DataFrame, run: Path, *, several: bool, parts: bool) -> None:
    """Draw stages against people where there are several numbers of them, else beside each other.

    Args:
        parts: whether stages are parts of a whole, which can be put one behind the other.
    """
    from posebench.bench.rows import COMPARED, stages_of
    from posebench.viz import people_plot, stages_plot, write_image

    good = rows[rows["error"] == ""]
    if not len(good):
        return
    others = [column for column in COMPARED if column != "people"]
    for number, (_, group) in enumerate(good.groupby(others, sort=False), start=1):
        curves: dict[str, dict[str, dict[int, float]]] = {}
        for _, own in group.groupby(["recipe", "people"], sort=False):
            name, people = str(own["recipe"].iloc[0]), int(own["people"].iloc[0])
            for stage, value in stages_of(own).items():
                curves.setdefault(name, {}).setdefault(stage, {})[people] = value
        suffix = f"-{number}" if number > 1 else ""
        if several:
            write_image(run / f"people{suffix}.png", people_plot(curves))
        elif parts:
            flat = {
                name: {stage: next(iter(curve.values())) for stage, curve in stages.items()}
                for name, stages in curves.items()
            }
            write_image(run / f"stages{suffix}.png", stages_plot(flat))


def _print(rows: pd.DataFrame) -> None:
    """Print a table for each group of timings that may be compared."""
    from posebench.bench.rows import COMPARED, stages_of

    for _, group in rows.groupby(list(COMPARED), sort=False, dropna=False):
        first = group.iloc[0]
        words = [
            f"{first['protocol']}, batch {first['batch_size']}, {first['people']} people",
            str(first["precision"]), str(first["options"]), str(first["hardware"]),
        ]  # fmt: skip
        out.print(f"[bold]{escape(', '.join(word for word in words if word))}[/]", soft_wrap=True)
        table = Table()
        for name in ("", "model", "input", "params M", "GMACs", "peak MB", "network ms", "p50 ms",
                     "p90 ms", "images/s", "times the first"):  # fmt: skip
            table.add_column(name, justify="left" if name in ("model", "input") else "right")
        lines: list[tuple[tuple[float, float], list[str]]] = []
        details: list[str] = []
        for recipe, own in group.groupby("recipe", sort=False):
            values = dict(zip(own["metric"], own["value"], strict=True))
            error = own["error"].iloc[0]
            if error:
                details.append(f"{recipe}: [yellow]failed[/] {escape(error)}")
            stages = ", ".join(f"{stage} {_figure(ms)}" for stage, ms in stages_of(own).items())
            if stages:
                details.append(f"{recipe}: {escape(stages)} ms")
            if "latency_p50" not in values:
                continue
            lines.append(
                ((values.get("rank", 1e9), values["latency_p50"]), _line(str(recipe), own, values))
            )
        for _, line in sorted(lines, key=lambda item: item[0]):
            table.add_row(*line)
        if lines:
            out.print(table)
        for detail in details:
            out.print(detail, soft_wrap=True)


def _line(recipe: str, own: pd.DataFrame, values: dict[str, float]) -> list[str]:
    between = ""
    if "ratio" in values:
        between = f"{values['ratio']:.2f} ({values['ratio_low']:.2f} to {values['ratio_high']:.2f})"
    figures = [
        _figure(values.get(name))
        for name in ("params_M", "gmacs", "peak_MB", "forward_p50", "latency_p50", "latency_p90",
                     "fps")
    ]  # fmt: skip
    return [_figure(values.get("rank")), recipe, str(own["input_size"].iloc[0]), *figures, between]


def _figure(value: float | None) -> str:
    """Return three digits at least; nothing for what there is none of."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _audit(
    recipes: list[Recipe], models: str, runs: Path, people: int, depth: int, json: bool
) -> None:
    import pandas as pd

    from posebench import engine
    from posebench.bench import flops

    run = engine.new_run(runs, "speed", models.replace(",", "+")[:60], "flops")
    tables = []
    for recipe in recipes:
        audit = flops.audit(recipe, people=people)
        tables.append(audit.rows(depth))
        if not json:
            _print_audit(audit, depth)
    rows = pd.concat(tables, ignore_index=True)
    engine.write_results(run, rows)
    if json:
        print_rows(rows)
    messages.print(f"Written to {escape(str(run))}", soft_wrap=True)


def _print_audit(audit: Audit, depth: int) -> None:
    giga = 1e9
    name, count = audit.recipe.name, audit.executed
    of = f"{audit.size[0]}x{audit.size[1]}, {audit.people} people"
    out.print(
        f"[bold]{name}[/], {of}: {count.macs / giga:.2f} GMACs, {count.flops / giga:.2f} GFLOPs "
        f"({audit.flops_folded / giga:.2f} with batch norms folded), "
        f"{audit.macs_as_written / giga:.2f} GMACs by the paper's equations, "
        f"{count.parameters / 1e6:.2f} M parameters",
        soft_wrap=True,
    )
    table = Table("operator", "calls", "GMACs", "GFLOPs")
    for operator in count.operators:
        table.add_row(
            operator.name, str(operator.calls), f"{operator.macs / giga:.4f}",
            f"{operator.flops / giga:.4f}",
        )  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    out.print(table)
    missing = ", ".join(f"{operator} ({calls})" for operator, calls in count.uncounted)
    out.print(f"Not counted, with calls: {missing or 'nothing'}", soft_wrap=True)
    if depth:
        tree = Table("module", "class", "params M", "GMACs", "GFLOPs", "share of MACs")
        for column in tree.columns[2:]:
            column.justify = "right"
        for level, path, module in count.tree.walk(depth):
            tree.add_row(
                "  " * level + (path.rpartition(".")[2] or name), module.kind,
                f"{module.parameters / 1e6:.2f}", f"{module.macs / giga:.3f}",
                f"{module.flops / giga:.3f}", f"{100 * module.macs / max(count.macs, 1):.1f} %",
            )  # fmt: skip
        out.print(tree)
