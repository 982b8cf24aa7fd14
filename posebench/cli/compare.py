"""`posebench compare`: which of several models is better, by how much, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    messages,
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
    from posebench.api.comparison import Comparison
    from posebench.bench.comparison import Comparison as Compared
    from posebench.bench.comparison import GroupDifference
    from posebench.bench.statistics import Interval
    from posebench.cli.columns import Column

GROUPINGS = ("keypoint", "size", "crowding", "overlap", "labelled")
_ROUNDING = 1e-12  # of a difference of AP


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="At least two: result files in COCO's format, run folders, checkpoints, or "
            "recipes with weights, which predict first.",
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
    names: Annotated[
        str | None,
        typer.Option(help="What they are called, e.g. ours,theirs (default: by their files)."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="The one that others are compared with, by its name (default: the best)."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help=f"Also show AP by {', '.join(GROUPINGS)}, or several of them."),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, help="How many of the images to name that decide most.")
    ] = 3,
    errors: Annotated[
        bool, typer.Option("--errors/--no-errors", help="Find what each model does wrong.")
    ] = True,
    group_p: Annotated[
        bool,
        typer.Option(
            "--group-p",
            help="Also test the differences in groups, corrected by Benjamini and Hochberg "
            "(exploratory; takes minutes for thousands of images).",
        ),
    ] = False,
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
    """Compare models on the same images: AP, differences, and which of them are certain."""
    from posebench.api.comparison import compare as compare_models
    from posebench.errors import unknown_name

    groupings = [one.strip() for one in by.split(",")] if by else []
    for one in groupings:
        if one not in GROUPINGS:
            raise unknown_name("grouping (--by)", one, GROUPINGS)
    with predicting() as progress:
        compared = compare_models(
            *models, names=names.split(",") if names else None, reference=reference,
            dataset=dataset, split=split, data_root=data_root, annotations=annotations,
            images=images, category=category or (), skeleton=skeleton, limit=limit, draws=draws,
            seed=seed, errors=errors, group_p=group_p, runs=runs, progress=progress, device=device,
            batch_size=batch_size, workers=workers,
        )  # fmt: skip
    if json:
        print_tables(compared.tables)
    else:
        _print(compared, groupings, worst)
    write_outputs(compared, to, report)
    if to is not None:
        from posebench.bench.comparison import write_text_tables

        written = write_text_tables(compared.result, to)
        messages.print(f"Written to {escape(str(to))}: {', '.join(written)}.")


def _print(compared: Comparison, groupings: Sequence[str], worst: int) -> None:
    from posebench.cli.columns import print_columns

    result = compared.result
    out.print(
        f"[bold]{escape(compared.images)}[/]: {result.num_images:,} images, "
        f"{result.num_people:,} people; intervals of 95 % over {result.draws:,} draws of the images"
    )
    print_columns(_score_columns(result), "--out DIR writes all columns.")
    out.print()
    print_columns(_pair_columns(result))
    if len(result.models) > 2:
        out.print("\n[bold]AP of the row minus AP of the column[/]; * told apart (Holm, 5 %)")
        print_columns(_matrix_columns(result), "--out DIR writes all differences.")
    if result.analyses:
        out.print("\n[bold]AP that correcting each kind of error alone would gain[/]")
        print_columns(_error_columns(result), "--out DIR writes all columns.")
    for by in groupings:
        out.print(f"\n[bold]AP by {by}[/]")
        print_columns(_group_columns(result, by))
        tested = [one for one in result.group_differences if one.by == by and not math.isnan(one.p)]
        if tested:
            out.print(f"\n[bold]Differences of AP by {by}[/], tested; exploratory")
            print_columns(_tested_columns(tested))
    if worst and len(result.models) > 1:
        _say_deciding(result, worst)
    out.print()
    say_sentences(compared)


def _score_columns(result: Compared) -> list[Column]:
    """Return the metrics, with the intervals of all of them where there is room."""
    from posebench.cli.columns import Column, fitting

    names = list(result.models[0].metrics)
    own = {name: [one.metrics[name] for one in result.models] for name in names}
    models = Column("model", [one.name for one in result.models], numeric=False)
    alike = Column("alike", [one.letters for one in result.models], numeric=False)
    wide = [
        models,
        *(Column(name, [_with_limits(ap) for ap in own[name]]) for name in names),
        alike,
    ]
    if len(fitting(wide, out.width)) == len(wide):
        return wide
    return [
        models,
        Column(names[0], [_percent(ap.value) for ap in own[names[0]]]),
        Column("95 %", [f"{100 * ap.low:.1f}–{100 * ap.high:.1f}" for ap in own[names[0]]]),
        *(
            Column(name, [_percent(ap.value) for ap in own[name]], gives_way=1)
            for name in names[1:]
        ),
        alike,
    ]


def _pair_columns(result: Compared) -> list[Column]:
    """Return the differences of two models, or of all from the reference."""
    from posebench.cli.columns import Column

    pairs = [one for one in result.pairs if result.reference in (one.better, one.worse)]
    return [
        Column("difference", [f"{one.better} − {one.worse}" for one in pairs], numeric=False),
        *_difference_columns([one.difference for one in pairs]),
        Column("p", [_p(one.p) for one in pairs], gives_way=2),
        Column("p (Holm)", [_p(one.p_adjusted) for one in pairs]),
        Column("could show", [f"{100 * one.smallest:.1f}" for one in pairs], gives_way=1),
    ]


def _matrix_columns(result: Compared) -> list[Column]:
    """Return the AP of each row's model minus that of each column's."""
    from posebench.bench.verdict import decided
    from posebench.cli.columns import Column

    cells = {}
    for pair in result.pairs:
        mark = "*" if decided(pair) else ""
        value = 100 * pair.difference.value
        cells[pair.better, pair.worse] = f"{value:+.1f}{mark}"
        cells[pair.worse, pair.better] = f"{-value:+.1f}{mark}"
    names = [one.name for one in result.models]
    return [
        Column("", names, numeric=False),
        *(Column(other, [cells.get((own, other), "–") for own in names]) for other in names),
    ]


def _error_columns(result: Compared) -> list[Column]:
    from posebench.cli.columns import Column

    models = [one.name for one in result.models]
    costs = {
        name: {cost.kind: cost for cost in result.analyses[name].costs if cost.mode == "alone"}
        for name in models
    }
    kinds = list(costs[models[0]])
    return [
        Column("model", models, numeric=False),
        *(
            Column(kind, [f"{100 * costs[name][kind].cost.value:.1f}" for name in models])
            for kind in kinds
        ),
    ]


def _group_columns(result: Compared, by: str) -> list[Column]:
    from posebench.cli.columns import Column

    rows = [one for one in result.groups if one.by == by]
    groups = list(dict.fromkeys(one.group for one in rows))
    people = {one.group: one.people for one in rows}
    found = {(one.group, one.model): one.ap for one in rows}
    return [
        Column(by, groups, numeric=False),
        Column("people", [f"{people[group]:,}" for group in groups]),
        *(
            Column(
                model.name,
                [_with_limits(found[group, model.name]) for group in groups],
                gives_way=1,
            )
            for model in result.models
        ),
    ]


def _tested_columns(tested: Sequence[GroupDifference]) -> list[Column]:
    from posebench.cli.columns import Column

    return [
        Column("difference", [f"{one.better} − {one.worse}" for one in tested], numeric=False),
        Column(tested[0].by, [one.group for one in tested], numeric=False),
        *_difference_columns([one.difference for one in tested]),
        Column("p", [_p(one.p) for one in tested], gives_way=1),
        Column("p (Benjamini–Hochberg)", [_p(one.p_adjusted) for one in tested]),
    ]


def _difference_columns(differences: Sequence[Interval]) -> list[Column]:
    from posebench.cli.columns import Column

    return [
        Column("AP", [f"{100 * one.value:+.1f}" for one in differences]),
        Column("95 %", [f"{100 * one.low:.1f} to {100 * one.high:.1f}" for one in differences]),
    ]


def _say_deciding(result: Compared, count: int) -> None:
    """Name the images that add most to the difference of the best two models, or take most off."""
    first, second = (one.name for one in result.models[:2])
    gap = {one.image_id: one.cost[second] - one.cost[first] for one in result.images}
    differing = [image for image, own in gap.items() if abs(own) > _ROUNDING]
    decisive = sorted(differing, key=lambda image: -abs(gap[image]))[:count]
    if not decisive:
        return
    listed = ", ".join(f"{image} ({100 * gap[image]:+.2f})" for image in decisive)
    out.print(
        f"\nImages that decide most between {escape(first)} and {escape(second)}, with the AP that "
        f"each adds to the difference: {listed}",
        soft_wrap=True,
    )


def _with_limits(ap: Interval) -> str:
    value = _percent(ap.value)
    return value if value == "–" else f"{value} ({100 * ap.low:.1f}–{100 * ap.high:.1f})"


def _percent(value: float) -> str:
    """Return a fraction in percent; a dash where there is nobody to find."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _p(value: float) -> str:
    from posebench.bench.verdict.words import p_text

    return "–" if math.isnan(value) else p_text(value).removeprefix("p ")
