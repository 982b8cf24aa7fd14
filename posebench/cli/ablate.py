"""`posebench ablate`: the papers' ablations, trained and tested again."""

from __future__ import annotations

from collections.abc import Sequence
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
    warn_if_slow,
)
from posebench.cli.stopping import continues
from posebench.cli.train_progress import TrainProgress

if TYPE_CHECKING:
    import pandas as pd

    from posebench.bench.ablation import StudyConfig, StudyResult, Task


def ablate(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY", help="Study such as cid/recalibration (default: list all studies)."
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List all studies with their papers' tables and costs.")
    ] = False,
    dataset: Annotated[
        str,
        typer.Option("--dataset", help="Dataset to train and test on; synthetic needs no files."),
    ] = "synthetic",
    budget: Annotated[
        str | None,
        typer.Option(
            help="Time per training, e.g. 10m; all variants get the same number of steps "
            "(default: 10m on synthetic, none on other datasets)."
        ),
    ] = None,
    epochs: Annotated[
        int,
        typer.Option(
            min=0,
            help="Epochs per training; 0: as many as the budget allows, else as in the paper.",
        ),
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="Number of seeds; each variant is trained with seeds 0, 1, ..."),
    ] = 3,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe that the variants change (default: the paper's or a tiny one)."),
    ] = None,
    settings: SetOption = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Number of trainings to run in parallel; they share the CPU threads."
        ),
    ] = 1,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster to run the trainings on; its machines must see --runs "
            "and the data."
        ),
    ] = None,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    workers: WorkersOption = None,
    json: JsonOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Repeat a paper's ablation: train and test its variants; run it again to continue it."""
    from posebench.bench import ablation
    from posebench.errors import PosebenchError
    from posebench.recipe import check_precision

    if listed or study is None:
        _list(json)
        return
    config = ablation.configure(
        study, dataset, recipe=recipe, settings=settings or (), budget=budget, epochs=epochs,
        data_root=data_root,
    )  # fmt: skip
    say_renamed(settings)
    check_precision(precision)

    from posebench.engine import default_workers, pick_device, pick_precision

    chosen_device = pick_device(device)
    warn_if_slow(precision, device)
    config = replace(
        config, device=str(chosen_device), precision=pick_precision(precision, chosen_device),
        workers=default_workers(chosen_device) if workers is None else workers,
    )  # fmt: skip
    kept = "Stopped; finished trainings and tests are kept, and one that was begun goes on."
    with continues(kept), _StudyProgress(seeds) as progress:
        result = ablation.run_study(
            config, runs / "ablate", range(seeds), jobs=jobs,
            ray_address=ray_address, watcher=progress,
        )  # fmt: skip
    if len(result.analysis.rows):
        _plot(result)
    if json:
        print_rows(result.analysis.rows)
    else:
        _print(result)
        out.print(escape(str(result.folder)), soft_wrap=True)
    if result.failed:
        reasons = "; ".join(f"{task.name}: {why}" for task, why in result.failed.items())
        raise PosebenchError(
            f"{len(result.failed)} of {len(result.tasks)} trainings failed; repeat the command to "
            f"try them again. {reasons}"
        )


class _StudyProgress:
    """Shows a study on stderr: a line per training, and a progress bar if one runs at a time."""

    def __init__(self, seeds: int) -> None:
        self.seeds = seeds
        self.total = self.done = 0
        self.bar: TrainProgress | None = None

    def __enter__(self) -> _StudyProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def on_measure(self) -> None:
        messages.print("Measuring how many steps the budget allows ...")

    def on_plan(self, config: StudyConfig, tasks: Sequence[Task]) -> None:
        self.total, self.done = len(tasks), sum(task.done for task in tasks)
        variants = sum(len(task.experiments) for task in tasks if task.seed == tasks[0].seed)
        if tasks[0].key:
            text = f"{variants} variants, {len(tasks)} trainings with {self.seeds} seeds"
            if config.steps:
                text += f", {config.steps} steps each for a budget of {config.budget_s:g} s"
            text += f"; {self.done} are done already." if self.done else "."
        else:
            text = f"{variants} variants of ideal outputs; nothing is trained."
        messages.print(escape(text), soft_wrap=True)
        messages.print(escape(str(Path(tasks[0].folder) / config.name)), soft_wrap=True)

    def on_task_start(self, task: Task) -> TrainProgress:
        self._close()
        self.bar = TrainProgress()
        self.bar.__enter__()
        return self.bar

    def on_task_end(self, task: Task, error: str) -> None:
        self._close()
        self.done += 1
        state = f"[red]failed[/] {escape(error)}" if error else "done"
        messages.print(f"{self.done}/{self.total}  {escape(task.name)}  {state}", soft_wrap=True)

    def _close(self) -> None:
        if self.bar:
            self.bar.__exit__()
        self.bar = None


def _plot(result: StudyResult) -> None:
    from posebench.viz import write_image
    from posebench.viz.plots_ablation import ablation_plot

    title = f"{result.config.study} on {result.config.dataset}"
    plot = ablation_plot(title, result.analysis.rows, result.analysis.summary)
    write_image(result.folder / "plot.png", plot)


_HEADERS = {"std": "±", "n": "seeds", "printed": "paper", "params_M": "params M"}


def _print(result: StudyResult) -> None:
    from posebench.models import STUDIES

    config, study = result.config, STUDIES[result.config.study]
    title = f"{study.name} ({study.entry}; {study.table}) on {config.dataset}, {config.recipe}"
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    summary = result.analysis.summary.dropna(axis="columns", how="all")
    shown = ["variant", *(column for column in summary.columns if column != "variant")]
    # The figure that orders the variants is in the column "paper" already.
    shown = [column for column in shown if column != f"printed {study.column}"]
    for column in shown:
        table.add_column(
            escape(_HEADERS.get(column, column.replace("printed ", "paper's "))),
            justify="left" if column == "variant" else "right",
        )
    for row in summary.to_dict("records"):
        table.add_row(*(_cell(row[column]) for column in shown))
    out.print(table)
    _print_pairs(result.analysis.pair_rows())
    out.print(escape(result.analysis.conclusion), soft_wrap=True)


def _print_pairs(pairs: pd.DataFrame) -> None:
    if pairs.empty:
        return
    table = Table(
        "better in the paper", "worse", "paper", "here", "95 % over images", "p images",
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
    from posebench.bench import ablation

    rows = ablation.list_studies()
    if json:
        print_rows(rows)
        return
    table = Table("", "study", "paper", "what varies", "variants", "cost of the paper's schedule")
    for row in rows:
        table.add_row(
            *(escape(str(row[name])) for name in ("entry", "study", "table", "factor")),
            str(row["variants"] or ""), escape(row["command"] or row["cost"]),
        )  # fmt: skip
    out.print(table)
    out.print(
        "posebench ablate STUDY --budget 10m --seeds 3 runs a study with a tiny recipe on "
        "synthetic images; --dataset coco (or the paper's dataset) runs the paper's schedule.",
        soft_wrap=True,
    )
