"""`posebench ablate`: the papers' ablations, trained and tested again."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from posebench.cli.common import (
    DeviceOption,
    JsonOption,
    PrecisionOption,
    RootOption,
    RunsOption,
    SetOption,
    WorkersOption,
    messages,
    out,
    print_rows,
    say_renamed,
)
from posebench.cli.train import TrainProgress

if TYPE_CHECKING:
    import pandas as pd

    from posebench.bench.ablate import Task
    from posebench.bench.ablation import Setup
    from posebench.bench.outcome import Outcome

_DEFAULT_BUDGET = "10m"
_UNITS = {"s": 1, "m": 60, "h": 3600}


def ablate(
    study: Annotated[
        str | None, typer.Argument(help="A study such as cid/recalibration [list them].")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show all studies with their tables and variants.")
    ] = False,
    dataset: Annotated[
        str, typer.Option("--dataset", help="Dataset; synthetic needs no files.")
    ] = "synthetic",
    budget: Annotated[
        str | None,
        typer.Option(help="Time of one training, e.g. 10m: all get equal steps [synthetic: 10m]."),
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=0, help="Epochs of one training [budget; else as the paper].")
    ] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, ... of each variant.")] = 3,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe that variants change [the paper's; synthetic: tiny].")
    ] = None,
    settings: SetOption = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Trainings at a time; they share the threads.")
    ] = 1,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to work on; it must see --runs and the data.")
    ] = None,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    workers: WorkersOption = None,
    json: JsonOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Train and test the variants of a paper's ablation; the same command continues it."""
    if listed or study is None:
        _list(json)
        return
    import torch

    from posebench.bench.ablate import check, plan, seconds_per_step, tasks
    from posebench.bench.jobs import run
    from posebench.bench.outcome import outcome, write
    from posebench.engine import default_workers, pick_device
    from posebench.errors import PosebenchError
    from posebench.recipe import pick_precision

    threads = max(torch.get_num_threads() // jobs, 1) if jobs > 1 else 0
    if threads:
        torch.set_num_threads(threads)  # a budget is measured as it is used
    setup = _setup(study, dataset, recipe, settings, budget, epochs, data_root)
    place = pick_device(device)
    folder = runs / "ablate"
    setup = replace(
        setup, device=str(place), precision=pick_precision(precision),
        workers=default_workers(place) if workers is None else workers,
    )  # fmt: skip
    check(setup)
    if setup.budget_s and not (folder / setup.name / "plan.json").is_file():
        messages.print("Measuring how many steps the budget allows for ...")
    setup = plan(setup, folder, seconds_per_step)
    todo = tasks(setup, folder, range(seeds), threads)
    own = folder / setup.name
    messages.print(escape(_announced(setup, todo, seeds)), soft_wrap=True)
    messages.print(escape(str(own)), soft_wrap=True)
    with _StudyProgress(len(todo), sum(task.done for task in todo)) as progress:
        failed = run(todo, jobs, ray_address, progress)
    found = outcome(setup, folder, range(seeds))
    write(found, own)
    if len(found.rows):
        _plot(setup, found, own)
    if json:
        print_rows(found.rows)
    else:
        _print(setup, found)
        out.print(escape(str(own)), soft_wrap=True)
    if failed:
        listed_failures = "; ".join(f"{task.name}: {why}" for task, why in failed.items())
        raise PosebenchError(
            f"{len(failed)} of {len(todo)} trainings failed; the same command tries them again. "
            f"{listed_failures}"
        )


def _setup(
    name: str,
    dataset: str,
    recipe: str | None,
    settings: list[str] | None,
    budget: str | None,
    epochs: int,
    data_root: Path | None,
) -> Setup:
    from posebench.bench.ablation import SYNTHETIC, Setup, base_recipe
    from posebench.data import data_root as find_root
    from posebench.data import find_layout
    from posebench.errors import UsageError, unknown_name
    from posebench.models import STUDIES, find_recipe
    from posebench.recipe import with_settings

    find_layout(dataset)
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES)
    study = STUDIES[name]
    if study.command:
        raise UsageError(f"{name} trains nothing: it is answered by {study.command}")
    if dataset == "mpii":
        raise UsageError("No paper's ablation is on mpii: choose coco, crowdpose or synthetic.")
    if epochs and budget:
        raise UsageError("A training lasts for --epochs or for a --budget: leave one of them out.")
    if dataset == SYNTHETIC and not epochs:
        budget = budget or _DEFAULT_BUDGET
    base = find_recipe(recipe, dataset) if recipe else base_recipe(study, dataset)
    if base.method != study.method:
        raise UsageError(f"{name} is about {study.method}, and {base.name} is of {base.method}.")
    say_renamed(settings)
    with_settings(base, settings)  # raises here what does not fit, before anything is done
    return Setup(
        study=name,
        dataset=dataset,
        recipe=base.name,
        settings=tuple(settings or ()),
        budget_s=0.0 if study.ideal or not budget else _seconds(budget),
        epochs=epochs,
        data_root="" if dataset == SYNTHETIC else str(find_root(data_root).resolve()),
    )


def _seconds(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `1.5h`."""
    from posebench.errors import UsageError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found or float(found[1]) == 0:
        raise UsageError(f"A budget is a time above 0 such as 90s, 10m or 2h, not {text!r}.")
    return float(found[1]) * _UNITS[found[2]]


def _announced(setup: Setup, todo: list[Task], seeds: int) -> str:
    from posebench.bench.ablation import resolve

    lines = resolve(setup)
    if lines[0].training is None:
        return f"{len(lines)} variants of ideal outputs; nothing is trained."
    text = f"{len(lines)} variants, {len(todo)} trainings with {seeds} seeds"
    if setup.steps:
        text += f", {setup.steps} steps each for a budget of {setup.budget_s:g} s"
    done = sum(task.done for task in todo)
    return text + (f"; {done} are done already." if done else ".")


class _StudyProgress:
    """Shows a study on stderr: a line per training, and its bar while there is one at a time."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        self.bar: TrainProgress | None = None

    def __enter__(self) -> _StudyProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def began(self, task: Task) -> TrainProgress:
        self._close()
        self.bar = TrainProgress()
        self.bar.__enter__()
        return self.bar

    def ended(self, task: Task, error: str) -> None:
        self._close()
        self.done += 1
        state = f"[red]failed[/] {escape(error)}" if error else "done"
        messages.print(f"{self.done}/{self.total}  {escape(task.name)}  {state}", soft_wrap=True)

    def _close(self) -> None:
        if self.bar:
            self.bar.__exit__()
        self.bar = None


def _plot(setup: Setup, found: Outcome, folder: Path) -> None:
    from posebench.viz import write_image
    from posebench.viz.plots_ablation import ablation_plot

    title = f"{setup.study} on {setup.dataset}"
    write_image(folder / "plot.png", ablation_plot(title, found.rows, found.summary))


def _print(setup: Setup, found: Outcome) -> None:
    from posebench.models import STUDIES

    study = STUDIES[setup.study]
    title = f"{study.name} ({study.entry}; {study.table}) on {setup.dataset}, {setup.recipe}"
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    summary = found.summary.dropna(axis="columns", how="all")
    named = {"std": "±", "n": "seeds", "printed": "paper", "params_M": "params M"}
    shown = ["variant", *(c for c in summary.columns if c != "variant")]
    # The figure that orders the variants is under "paper" already.
    shown = [c for c in shown if c != f"printed {study.column}"]
    for column in shown:
        table.add_column(
            escape(named.get(column, column.replace("printed ", "paper's "))),
            justify="left" if column == "variant" else "right",
        )
    for row in summary.to_dict("records"):
        table.add_row(*(_cell(row[column]) for column in shown))
    out.print(table)
    _print_pairs(found.pair_rows())
    out.print(escape(found.sentence), soft_wrap=True)


def _print_pairs(pairs: pd.DataFrame) -> None:
    if pairs.empty:
        return
    table = Table(
        "better, by the paper", "worse", "paper", "here", "95 % over images", "p images",
        "p seeds", "seeds", "order",
    )  # fmt: skip
    for row in pairs.to_dict("records"):
        table.add_row(
            escape(row["better"]), escape(row["worse"]), _cell(row["printed"]),
            f"{row['difference']:+.1f}", f"{row['low']:+.1f} to {row['high']:+.1f}",
            f"{row['p_images_holm']:.3f}", _p(row["p_seeds"]),
            f"{row['seeds_above']} of {row['seeds']}", row["verdict"],
        )  # fmt: skip
    out.print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else f"{value:.1f}" if value >= 10 else f"{value:.3g}"
    return escape(str(value))


def _p(value: float) -> str:
    return "" if value != value else f"{value:.3f}"


def _list(json: bool) -> None:
    from posebench.bench.catalogue import catalogue

    rows = catalogue()
    if json:
        print_rows(rows)
        return
    table = Table("", "study", "paper", "what varies", "variants", "cost in full")
    for row in rows.to_dict("records"):
        table.add_row(
            *(escape(str(row[n])) for n in ("entry", "study", "table", "factor")),
            str(row["variants"] or ""), escape(row["command"] or row["cost"]),
        )  # fmt: skip
    out.print(table)
    out.print(
        "posebench ablate STUDY --budget 10m --seeds 3 runs one with a tiny recipe on drawn "
        "people; --dataset coco (or the paper's) runs the paper's schedule.",
        soft_wrap=True,
    )
