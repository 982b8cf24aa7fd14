"""What a comparison found: charts and tables of models, differences, errors and groups."""

from __future__ import annotations

import html
from collections.abc import Sequence

from posebench.bench.comparison import Comparison, PairDifference
from posebench.bench.statistics import Interval
from posebench.bench.verdict import ERRORS, decided
from posebench.bench.verdict.words import FEW, p_text, points
from posebench.viz.pages import Cell, Column, sortable_table
from posebench.viz.result_report.charts import Measure, Row, intervals, shares
from posebench.viz.result_report.curves import curves
from posebench.viz.result_report.detection_parts import curve
from posebench.viz.result_report.error_parts import (
    GROUPINGS,
    class_key,
    class_shares,
    error_cell,
    limits,
)
from posebench.viz.result_report.sections import (
    figure,
    folded,
    interval_cell,
    key,
    note,
    side_by_side,
    spaced,
)
from posebench.viz.result_report.style import series


def _key(comparison: Comparison) -> str:
    return key((series(i), model.name) for i, model in enumerate(comparison.models))


# ----------------------------------------------------------------------------------------- models


def models_part(comparison: Comparison) -> str:
    """Return every model's metrics, and precision against recall."""
    models = comparison.models
    metrics = list(models[0].metrics)
    columns = [
        Column("model"),
        *(Column(metric, numeric=True, best_first="high") for metric in metrics),
        Column("alike"),
    ]
    rows: list[list[str | Cell]] = [
        [
            model.name,
            *(_metric_cell(model.metrics[metric]) for metric in metrics),
            model.letters,
        ]
        for model in models
    ]
    drawn = [
        Row(model.name, (_measure("AP", model.metrics["AP"], i),), model.letters)
        for i, model in enumerate(models)
    ]
    about = "AP with 95 % intervals: " + ", ".join(
        f"{model.name} {points(model.metrics['AP'].value)}" for model in models
    )
    parts = [figure("AP", intervals(drawn, "AP, %", about))]
    known = [(i, model.name) for i, model in enumerate(models) if model.name in comparison.analyses]
    if known:
        lines = [curve(comparison.analyses[name], series(i)) for i, name in known]
        recall = curves(lines, ("recall", "precision"), "Precision against recall of each model")
        parts.append(
            figure(
                "Precision against recall, mean over the OKS thresholds", _key(comparison) + recall
            )
        )
    return (
        sortable_table(columns, rows, "Metrics in percent, with 95 % intervals over images")
        + note("Models that share a letter cannot be told apart.")
        + side_by_side(parts)
    )


def _metric_cell(value: Interval) -> str:
    return interval_cell(value) if value.value >= 0 else ""  # -1: there was nobody to find


def _measure(label: str, value: Interval, index: int) -> Measure:
    return Measure(label, value.value, value.low, value.high, series(index))


# ------------------------------------------------------------------------------------ differences


def differences_part(comparison: Comparison) -> str:
    """Return the differences of AP of all pairs, and which are more than chance."""
    pairs = comparison.pairs
    if not pairs:
        return ""
    columns = [
        Column("better"),
        Column("than"),
        Column("AP", numeric=True, best_first="high"),
        Column("p", numeric=True),
        Column("p, Holm", numeric=True),
        Column("could be shown", numeric=True),
        Column("told apart"),
    ]
    rows: list[list[str | Cell]] = [
        [
            pair.better,
            pair.worse,
            interval_cell(pair.difference, signed=True),
            f"{pair.p:.4f}",
            f"{pair.p_adjusted:.4f}",
            points(pair.smallest),
            "yes" if decided(pair) else "no",
        ]
        for pair in pairs
    ]
    table = sortable_table(columns, rows, "Differences of AP in points, with 95 % intervals")
    matrix = _matrix(comparison) if len(comparison.models) > 2 else ""
    return (
        matrix
        + table
        + note(
            "p: exchanging the two models' predictions on any of the images, ranked within each "
            "model; Holm corrects it for all pairs. Could be shown: the smallest difference that "
            "these images show in four of five cases (power 80 % at 5 %)."
        )
    )


def _matrix(comparison: Comparison) -> str:
    """Return the differences as a table: the model of the row minus that of the column."""
    names = [model.name for model in comparison.models]
    found = {(pair.better, pair.worse): pair for pair in comparison.pairs}
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    lines = []
    for row in names:
        cells = []
        for column in names:
            sign = 1 if (row, column) in found else -1
            pair = found.get((row, column) if sign > 0 else (column, row))
            cells.append("<td>–</td>" if row == column else _pair_cell(pair, sign))
        lines.append(f'<tr><th scope="row">{html.escape(row)}</th>{"".join(cells)}</tr>')
    caption = "AP of the row minus AP of the column, points; shaded and bold: told apart"
    return (
        f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">'
        f'<table class="matrix"><caption>{caption}</caption><thead><tr><td></td>{heads}</tr>'
        f"</thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _pair_cell(pair: PairDifference | None, sign: int) -> str:
    if pair is None:
        return "<td></td>"
    value, ends = pair.difference, (pair.difference.low, pair.difference.high)
    low, high = ends if sign > 0 else (-ends[1], -ends[0])
    plus = "+" if sign * value.value > 0 else ""
    sure = ' class="sure"' if decided(pair) else ""
    return (
        f"<td{sure}>{plus}{points(sign * value.value)}"
        f"<small>{points(low)} to {points(high)}, {p_text(pair.p_adjusted)}</small></td>"
    )


# ---------------------------------------------------------------------------------------- errors


def errors_part(comparison: Comparison) -> str:
    """Return which errors make the differences."""
    if not comparison.errors:
        return ""
    by_pair: dict[tuple[str, str], dict[str, Measure]] = {}
    kinds = list(dict.fromkeys(error.kind for error in comparison.errors))
    number = {model.name: i for i, model in enumerate(comparison.models)}
    for error in comparison.errors:
        own = by_pair.setdefault((error.better, error.worse), {})
        own[error.kind] = _measure(f"{error.better} over {error.worse}", error.difference,
                                   number[error.worse])  # fmt: skip
    rows = [
        Row(ERRORS[kind].label, tuple(own[kind] for own in by_pair.values() if kind in own))
        for kind in kinds
    ]
    axis = "points of AP; right: the better model loses less"
    if len(by_pair) == 1:
        [(better, _)] = by_pair
        axis = f"points of AP; right: {better} loses less"
    pairs = [f"{better} over {worse}" for better, worse in by_pair]
    about = "AP that the better model loses less, by kind of error: " + ", ".join(
        f"{ERRORS[error.kind].label} {points(error.difference.value)}"
        for error in comparison.errors
    )
    drawn = intervals(rows, axis, about,
                      difference=True)  # fmt: skip
    legend = key((series(number[worse]), f"{better} over {worse}") for better, worse in by_pair)
    parts = [figure("What makes the difference", (legend if len(pairs) > 1 else "") + drawn)]
    if comparison.analyses:
        costs = _key(comparison) + _costs(comparison, kinds)
        parts.append(figure("What each model loses AP on", costs))
        parts.append(_classes(comparison))
    return side_by_side(parts) + folded("Differences of costs as a table", _error_table(comparison))


def _costs(comparison: Comparison, kinds: Sequence[str]) -> str:
    rows = []
    for kind in kinds:
        values = [
            _measure(model.name, comparison.analyses[model.name].cost(kind).cost, i)
            for i, model in enumerate(comparison.models)
            if model.name in comparison.analyses
        ]
        rows.append(Row(ERRORS[kind].label, tuple(values)))
    about = "Points of AP that each kind of error costs: " + "; ".join(
        f"{row.label}: " + ", ".join(f"{one.label} {points(one.value)}" for one in row.values)
        for row in rows
    )
    return intervals(rows, "AP gained by mending each alone, points", about, difference=True)


def _classes(comparison: Comparison) -> str:
    rows = [
        (model.name, class_shares(dict(comparison.analyses[model.name].class_counts)))
        for model in comparison.models
        if model.name in comparison.analyses
    ]
    used = list(dict.fromkeys(kind for _, own in rows for kind in own))
    about = "Share of keypoints of each class: " + "; ".join(
        f"{name}: " + ", ".join(f"{kind} {100 * share:.1f} %" for kind, share in own.items())
        for name, own in rows
    )
    drawn = shares(rows, "keypoints of people found at OKS 0.1, %", about)
    return figure("Classes of keypoints", class_key(used) + drawn)


def _error_table(comparison: Comparison) -> str:
    columns = [
        Column("error"),
        Column("better model"),
        Column("than"),
        Column("loses less by", numeric=True, best_first="high"),
    ]
    rows: list[list[str | Cell]] = [
        [
            error_cell(error.kind),
            error.better,
            error.worse,
            interval_cell(error.difference, signed=True),
        ]
        for error in comparison.errors
    ]
    return sortable_table(columns, rows, "Cost in the worse minus cost in the better, points of AP")


# ----------------------------------------------------------------------------------------- groups


def groups_part(comparison: Comparison) -> str:
    """Return AP of every model by group, and the differences."""
    if not comparison.groups:
        return ""
    number = {model.name: i for i, model in enumerate(comparison.models)}
    figures = []
    axis = limits([one.ap for one in comparison.groups])
    # Keypoints last, of which there are many.
    groupings = sorted({one.by: 0 for one in comparison.groups}, key=lambda by: by == "keypoint")
    for by in groupings:
        own = [one for one in comparison.groups if one.by == by]
        rows = []
        for label in dict.fromkeys(one.group for one in own):
            scores = sorted((o for o in own if o.group == label), key=lambda o: number[o.model])
            values = tuple(_measure(one.model, one.ap, number[one.model]) for one in scores)
            people = scores[0].people
            rows.append(Row(spaced(label), values, f"{people:,} people", people < FEW))
        title = f"AP {GROUPINGS.get(by, by)}"
        about = f"{title}: " + "; ".join(
            f"{row.label}: " + ", ".join(f"{v.label} {points(v.value)}" for v in row.values)
            for row in rows
        )
        figures.append(figure(title, intervals(rows, "AP, %", about, limits=axis)))
    columns = [
        Column("by"),
        Column("group"),
        Column("better overall"),
        Column("than"),
        Column("difference", numeric=True, best_first="high"),
    ]
    rows_ = [
        [
            one.by,
            spaced(one.group),
            one.better,
            one.worse,
            interval_cell(one.difference, signed=True),
        ]
        for one in comparison.group_differences
    ]
    table = sortable_table(columns, rows_, "Differences of AP by group, points (95 %)")
    return (
        _key(comparison)
        + side_by_side(figures)
        + note(
            "In a group of people the others are ignored, but false positives anywhere count: "
            f"compare models, not groups. Faint: fewer than {FEW} people. Intervals here are not "
            "corrected for their number: they suggest, and prove nothing."
        )
        + (folded("Differences by group as a table", table) if rows_ else "")
    )
