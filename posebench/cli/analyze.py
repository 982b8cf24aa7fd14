"""`posebench analyze`: what a model does wrong, and what each kind of error costs in AP."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.bench.draws import DRAWS, SEED
from posebench.cli.common import (
    AnnotationsOption,
    CategoryOption,
    DeviceOption,
    ImagesOption,
    JsonOption,
    LimitOption,
    RootOption,
    RunsOption,
    SkeletonOption,
    SplitOption,
    WorkersOption,
    out,
    print_tables,
)
from posebench.cli.comparing import (
    BatchOption,
    DrawsOption,
    NamedDataset,
    ReportOption,
    SeedOption,
    TablesOption,
    predicting,
    say_sentences,
    write_outputs,
)

if TYPE_CHECKING:
    from posebench.api.comparison import ErrorAnalysis
    from posebench.bench.analysis import Analysis
    from posebench.cli.columns import Column


def analyze(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A result file in COCO's format, a run folder, a checkpoint, or a recipe with "
            "weights, which predicts first.",
        ),
    ],
    dataset: NamedDataset = None,
    data_root: RootOption = None,
    split: SplitOption = None,
    annotations: AnnotationsOption = None,
    images: ImagesOption = None,
    category: CategoryOption = None,
    skeleton: SkeletonOption = None,
    limit: LimitOption = None,
    corrections: Annotated[
        str,
        typer.Option(
            help="How wrong keypoints are mended: `meant`, or `published` as the published tool "
            "does, which moves them nearer than it says."
        ),
    ] = "meant",
    draws: DrawsOption = DRAWS,
    seed: SeedOption = SEED,
    report: ReportOption = None,
    to: TablesOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchOption = 8,
    workers: WorkersOption = None,
    json: JsonOption = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Find what a model does wrong: misses, swaps, inversions, jitter, scores, false positives."""
    from posebench.api.comparison import LONG_TABLES
    from posebench.api.comparison import analyze as analyze_model

    with predicting() as progress:
        analysed = analyze_model(
            model, corrections=corrections, dataset=dataset, split=split, data_root=data_root,
            annotations=annotations, images=images, category=category or (), skeleton=skeleton,
            limit=limit, draws=draws, seed=seed, runs=runs, progress=progress, device=device,
            batch_size=batch_size, workers=workers,
        )  # fmt: skip
    if json:
        print_tables({n: rows for n, rows in analysed.tables.items() if n not in LONG_TABLES})
    else:
        _print(analysed)
    write_outputs(analysed, to, report)


def _print(analysed: ErrorAnalysis) -> None:
    from posebench.bench.verdict.words import counted
    from posebench.cli.columns import print_columns

    result, name = analysed.result, analysed.entrants[0].name
    ap = result.ap
    limits = f" (95 %: {100 * ap.low:.1f} to {100 * ap.high:.1f})" if result.draws else ""
    out.print(
        f"[bold]{escape(name)}[/] on {escape(analysed.images)}: AP "
        f"{100 * ap.value:.1f}{limits}; {counted(result.num_images, 'image')}, "
        f"{result.num_people:,} {'person' if result.num_people == 1 else 'people'}"
    )
    print_columns(_cost_columns(result), "--out DIR writes all columns.")
    out.print("\n[bold]Keypoints of matched people[/], in percent")
    print_columns(_keypoint_columns(result), "--out DIR writes all columns.")
    out.print()
    say_sentences(analysed)


def _cost_columns(result: Analysis) -> list[Column]:
    from posebench.cli.columns import Column

    costs = {(one.kind, one.mode): one for one in result.costs}
    kinds = list(dict.fromkeys(one.kind for one in result.costs))

    def cells(mode: str) -> list[str]:
        found = [costs.get((kind, mode)) for kind in kinds]
        return ["" if one is None else f"{100 * one.cost.value:.1f}" for one in found]

    def limits(kind: str) -> str:
        one = costs.get((kind, "alone"))
        if one is None or math.isnan(one.cost.low):
            return ""
        return f"{100 * one.cost.low:.1f} to {100 * one.cost.high:.1f}"

    counts = [costs.get((kind, "alone"), costs.get((kind, "progressive"))) for kind in kinds]
    return [
        Column("error", kinds, numeric=False),
        Column("found", [f"{one.count:,}" if one else "" for one in counts]),
        Column("AP lost", cells("alone")),
        Column("95 %", [limits(kind) for kind in kinds]),
        Column("one after another", cells("progressive"), gives_way=1),
    ]


def _keypoint_columns(result: Analysis) -> list[Column]:
    from posebench.cli.columns import Column

    classes = list(dict.fromkeys(name for one in result.keypoints for name in one.shares))
    totals = [sum(one.shares.values()) for one in result.keypoints]
    return [
        Column("keypoint", [one.keypoint for one in result.keypoints], numeric=False),
        *(
            Column(
                name,
                [
                    f"{100 * one.shares.get(name, 0) / total:.1f}" if total else "–"
                    for one, total in zip(result.keypoints, totals, strict=True)
                ],
            )
            for name in classes
        ),
    ]
