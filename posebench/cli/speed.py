"""`posebench speed`: latency, stages and memory of models."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.columns import Column, print_columns
from posebench.cli.common import (
    DeviceOption,
    JsonOption,
    RunsOption,
    messages,
    out,
    print_rows,
    progress_bar,
    warn_if_slow,
)
from posebench.cli.flops import DepthOption, ModelsOption, TreeOption, count_flops
from posebench.cli.progress import parts
from posebench.cli.stopping import continues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from posebench.bench.speed import ModelSpeed, SpeedOptions
    from posebench.engine import Predictor
    from posebench.recipe import Recipe


def speed(
    models: ModelsOption = "all",
    protocol: Annotated[
        str,
        typer.Option(
            help="What is timed: end-to-end (from the image file to the poses), forward (the "
            "network alone) or paper (what each paper timed)."
        ),
    ] = "end-to-end",
    people: Annotated[
        str | None,
        typer.Option(
            help="Number of people per image (default: 5); several values (1,5,20,50) also give a "
            "plot."
        ),
    ] = None,
    alternatives: Annotated[
        bool,
        typer.Option(
            "--alternatives",
            help="Time the alternatives that a paper compares for one stage, such as CID's "
            "GFD and RoIAlign.",
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Take a quarter of the time: fewer and shorter rounds."),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Time per model in seconds; at least three rounds always run "
            "(default: 60, with --quick 15).",
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="Precision: fp32, tf32, bf16, fp16, or auto: bf16 where the hardware computes in "
            "it."
        ),
    ] = "fp32",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the networks with torch.compile.")
    ] = False,
    cuda_graphs: Annotated[
        bool,
        typer.Option(
            "--cuda-graphs", help="Record the networks' kernels on a GPU, and launch them as one."
        ),
    ] = False,
    backend: Annotated[
        str,
        typer.Option(
            help="Comma-separated backends to compare: torch, compile, onnxruntime, openvino."
        ),
    ] = "torch",
    onnx: Annotated[
        list[Path] | None,
        typer.Option(
            "--onnx",
            help="Also time a file: exported by posebench (.onnx, .xml or .pt2), or an ONNX file "
            "with YOLO's or RTMO's outputs; repeat for others.",
        ),
    ] = None,
    channels_last: Annotated[
        bool, typer.Option(help="Use the channels-last memory format, as eval does.")
    ] = True,
    threads: Annotated[
        int,
        typer.Option(min=0, help="Number of CPU threads per model; 0: PyTorch's default."),
    ] = 0,
    resume: Annotated[
        Path | None,
        typer.Option(help="Resume the benchmark in this run folder; what it has is kept."),
    ] = None,
    flops: Annotated[
        bool, typer.Option("--flops", help="Count operations instead, as `posebench flops` does.")
    ] = False,
    tree: TreeOption = False,
    depth: DepthOption = 2,
    json: JsonOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Time models in alternating rounds, each in its own process, and rank them."""
    from posebench.bench import speed as benchmark
    from posebench.bench.selection import select_models

    options = benchmark.SpeedOptions(
        protocol=protocol,  # type: ignore[arg-type]
        people=_people(people) if people else benchmark.SpeedOptions.people,
        precision="fp32" if precision == "auto" else precision,  # type: ignore[arg-type]
        batch_size=batch_size,
        compiled=compiled,
        cuda_graphs=cuda_graphs,
        channels_last=channels_last,
        backends=_backends(backend),
        threads=threads,
        alternatives=alternatives,
        schedule=benchmark.QUICK if quick else benchmark.FULL,
    )
    if flops or tree:
        count_flops(models, options.people[0] if people else 1, depth if tree else 0, json, runs)
        return
    if budget is not None:
        options = replace(options, schedule=replace(options.schedule, budget_s=budget))
    recipes = select_models([word.strip() for word in models.split(",")])
    if alternatives:
        recipes = benchmark.with_alternatives(recipes)
    if onnx:
        from posebench.bench.speed.anchors import onnx_predictor

        recipes += [onnx_predictor(file) for file in onnx]
    for recipe in recipes:
        benchmark.input_cases(recipe, options)  # so that what cannot be timed is said first
    _check_resume(resume)

    from posebench.engine import pick_device, pick_precision

    place = pick_device(device)
    options = replace(options, device=str(place))
    if precision == "auto":
        options = replace(options, precision=pick_precision(precision, place))
    warn_if_slow(precision, device)
    if threads:
        import torch

        torch.set_num_threads(threads)  # for the environment.json of this process
    run = _run_folder(resume, runs, models, protocol)
    rows = _benchmark(recipes, options, run)
    _plot(rows, run, options)
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
        raise UsageError(
            f"--people expects comma-separated numbers above 0 such as 1,5,20, not {text!r}."
        )
    return tuple(dict.fromkeys(numbers))


def _backends(text: str) -> tuple[str, ...]:
    from posebench.errors import UsageError

    names = [word.strip() for word in text.split(",")]
    if not all(names):
        raise UsageError(
            "--backend expects names with one comma between them, such as torch,onnxruntime, not "
            f"{text!r}."
        )
    return tuple(dict.fromkeys(names))


def _check_resume(resume: Path | None) -> None:
    from posebench.errors import UsageError

    if resume is not None and not (resume / "environment.json").is_file():
        raise UsageError(
            f"--resume expects the run folder of a benchmark (runs/speed/...), but {resume} has no "
            "environment.json."
        )


def _run_folder(resume: Path | None, runs: Path, models: str, protocol: str) -> Path:
    from posebench import engine
    from posebench.engine.runs import environment
    from posebench.files import write_json

    if resume is None:
        return engine.new_run(runs, "speed", models.replace(",", "+")[:60], protocol)
    number = len(list(resume.glob("environment*.json"))) + 1
    write_json(resume / f"environment-{number}.json", environment())
    return resume


def _benchmark(recipes: list[Recipe | Predictor], options: SpeedOptions, run: Path) -> pd.DataFrame:
    from posebench.bench.speed import run_speed_benchmark

    messages.print(f"Timing {len(recipes)} models in turns: {escape(str(run))}", soft_wrap=True)
    with progress_bar() as bar:
        task = bar.add_task("speed", total=None, note="")

        def on_progress(name: str, what: str) -> None:
            bar.update(task, advance=1, note=parts(name, what))
            if what.startswith("failed"):
                messages.print(f"{escape(name)}: {escape(what)}", soft_wrap=True)

        with continues("Stopped; what has been timed is kept.", "--resume", run):
            return run_speed_benchmark(recipes, options, run, on_progress=on_progress)


def _plot(rows: pd.DataFrame, run: Path, options: SpeedOptions) -> None:
    """Plot time against people if there are several numbers of them, else the share of stages."""
    from posebench.bench.speed import pass_intervals, pass_times, stage_curves
    from posebench.viz import people_plot, stages_plot, write_image

    groups = zip(stage_curves(rows), pass_times(rows), pass_intervals(rows), strict=True)
    for number, (curves, totals, intervals) in enumerate(groups, start=1):
        suffix = f"-{number}" if number > 1 else ""
        if len(options.people) > 1:
            write_image(run / f"people{suffix}.png", people_plot(curves))
        elif not options.alternatives:  # alternatives are not stages of one forward pass
            stages = {
                name: {stage: next(iter(curve.values())) for stage, curve in own.items()}
                for name, own in curves.items()
            }
            write_image(run / f"stages{suffix}.png", stages_plot(stages, totals, intervals))


_COLUMNS = {
    "latency_p90": "p90 ms", "latency_p95": "p95 ms", "latency_p99": "p99 ms", "fps": "images/s",
    "peak_MB": "peak MB", "params_M": "params M", "gmacs": "GMACs", "forward_p50": "network ms",
}  # fmt: skip
_GIVE_WAY = ("latency_p95", "latency_p99")


def _print(rows: pd.DataFrame) -> None:
    """Print a table for each group of models that can be compared."""
    from posebench.bench.speed import compared_models

    for group in compared_models(rows):
        out.print(f"[bold]{escape(group.conditions)}[/]", soft_wrap=True)
        timed = [model for model in group.models if "latency_p50" in model.values]
        if timed:
            print_columns(_columns(timed), "results.csv has all figures.")
        for model in group.models:
            if model.error:
                word = "" if model.error.startswith("unsupported") else "[yellow]failed[/] "
                out.print(f"{model.recipe}: {word}{escape(model.error)}", soft_wrap=True)
            if model.values.get("outputs_equal") == 0:
                out.print(
                    f"{model.recipe}: not ranked, since its outputs differ from PyTorch's.",
                    soft_wrap=True,
                )
            if model.load:
                out.print(f"{model.recipe}: meanwhile {escape(model.load)}", soft_wrap=True)
            if model.stages:
                stages = ", ".join(f"{name} {_figure(ms)}" for name, ms in model.stages.items())
                out.print(f"{model.recipe}: {escape(stages)} ms", soft_wrap=True)


def _columns(models: Sequence[ModelSpeed]) -> list[Column]:
    """Return the columns of a table; on a narrow terminal the last ones give way."""
    return [
        Column("model", [model.recipe for model in models], numeric=False),
        Column("rank", [_figure(model.values.get("rank")) for model in models]),
        Column("p50 ms", [_figure(model.values.get("latency_p50")) for model in models]),
        Column("95 %", [_interval(model.interval) for model in models], gives_way=1),
        *(
            Column(
                header,
                [_figure(model.values.get(name)) for model in models],
                gives_way=int(name in _GIVE_WAY),
            )
            for name, header in _COLUMNS.items()
        ),
        Column("vs. first", [_ratio(model.values) for model in models]),
        Column("input", [model.input_size for model in models], numeric=False),
    ]


def _interval(limits: tuple[float, float] | None) -> str:
    return "" if limits is None else f"{_figure(limits[0])} to {_figure(limits[1])}"


def _ratio(values: Mapping[str, float]) -> str:
    if "ratio" not in values:
        return ""
    return f"{values['ratio']:.2f} ({values['ratio_low']:.2f} to {values['ratio_high']:.2f})"


def _figure(value: float | None) -> str:
    """Return a value with three significant digits, or as an integer from 1000 on.

    A dash stands for what cannot be known, as of a predictor's network.
    """
    if value is None:
        return ""
    if math.isnan(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
