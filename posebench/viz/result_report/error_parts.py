"""What errors cost one model, at which keypoints they occur and where: charts and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from posebench.bench.analysis import CLASSES, Analysis, ErrorCost, KeypointErrors
from posebench.bench.analysis.values import QUANTILES
from posebench.bench.statistics import Interval
from posebench.bench.verdict import ERRORS
from posebench.bench.verdict.words import FEW, group_text, points
from posebench.viz.pages import Cell, Column, sortable_table
from posebench.viz.result_report.charts import (
    Measure,
    Row,
    Step,
    bars,
    intervals,
    shares,
    waterfall,
)
from posebench.viz.result_report.sections import (
    figure,
    folded,
    interval_cell,
    key,
    note,
    side_by_side,
    spaced,
    value_cell,
)
from posebench.viz.result_report.svg import around

_CLASS_LABELS = {"good": "good", "absent": "not predicted"}
GROUPINGS = {
    "size": "by size, sqrt(area)",
    "crowding": "by how crowded the image is",
    "overlap": "by overlapping boxes",
    "labelled": "by labelled keypoints",
    "truncation": "by truncation",
    "keypoint": "by keypoint",
}


# ------------------------------------------------------------------------------------------ costs


def costs_part(analysis: Analysis) -> str:
    """Return what AP is lost on: one kind mended after the other, and each alone."""
    steps = [one for one in analysis.costs if one.mode == "progressive"]
    alone = [one for one in analysis.costs if one.mode == "alone"]
    alone.sort(key=lambda one: -one.cost.value)
    before = analysis.ap.value
    drawn = []
    for one in steps:
        drawn.append(Step(one.kind, ERRORS[one.kind].label, before, one.ap_after))
        before = one.ap_after
    largest = max(steps, key=lambda one: one.cost.value)
    grown = waterfall(
        "AP now", drawn,
        f"AP grows from {points(analysis.ap.value)} to {points(before)} as errors are mended one "
        f"kind after the other; the largest step is {ERRORS[largest.kind].label} with "
        f"{points(largest.cost.value)}.",
    )  # fmt: skip
    each = bars(
        [_measure(ERRORS[one.kind].label, one.cost, f"k-{one.kind}") for one in alone],
        "AP gained, points",
        "AP gained by mending one kind alone: "
        + ", ".join(f"{ERRORS[one.kind].label} {points(one.cost.value)}" for one in alone),
    )
    return side_by_side(
        [
            figure("Mended one after the other", grown, "The steps add up to 100 and depend on "
                   "their order, which is that of the published analysis."),
            figure("Each mended alone", each, "These do not depend on an order and do not add up: "
                   "a pose may need two of them."),
        ]
    ) + _cost_table(analysis.costs)  # fmt: skip


def _cost_table(costs: Sequence[ErrorCost]) -> str:
    kinds = list(dict.fromkeys(one.kind for one in costs))
    by_mode = {(one.kind, one.mode): one for one in costs}
    rows: list[list[str | Cell]] = []
    for kind in kinds:
        one, other = by_mode.get((kind, "progressive")), by_mode.get((kind, "alone"))
        count = (other or one or costs[0]).count
        rows.append(
            [
                error_cell(kind),
                f"{count:,}".replace(",", " "),
                interval_cell(one.cost) if one else "",
                value_cell(one.ap_after) if one else "",
                interval_cell(other.cost) if other else "",
                ERRORS[kind].means,
            ]
        )
    columns = [
        Column("error"),
        Column("found", numeric=True, best_first="high"),
        Column("cost in turn", numeric=True, best_first="high"),
        Column("AP after", numeric=True, best_first="high"),
        Column("cost alone", numeric=True, best_first="high"),
        Column("what it is"),
    ]
    return sortable_table(columns, rows, "What each kind of error costs, points of AP (95 %)")


def limits(values: Sequence[Interval]) -> tuple[float, float]:
    """Return the ends of an axis that several charts share."""
    low, high = around(end for one in values for end in (one.value, one.low, one.high))
    return max(low, 0.0), min(high, 1.0)


def error_cell(kind: str) -> Cell:
    """Return an error's name, which leads to its images where pictures can show it."""
    link = "" if kind == "localisation" else f"filter-kind-{kind}"
    return Cell(ERRORS[kind].label, ERRORS[kind].means, link)


def _measure(label: str, value: Interval, kind: str) -> Measure:
    return Measure(label, value.value, value.low, value.high, kind)


# -------------------------------------------------------------------------------------- keypoints


def keypoints_part(analysis: Analysis) -> str:
    """Return how well each keypoint is located."""
    shown = [one for one in analysis.keypoints if one.count]
    if not shown:
        return ""
    rows = [(spaced(one.keypoint), class_shares(one.shares)) for one in shown]
    about = "Share of each class by keypoint; wrong: " + ", ".join(
        f"{name} {100 * (1 - own.get('good', 0.0)):.0f} %" for name, own in rows
    )
    chart = shares(rows, "keypoints of people found at OKS 0.1, %", about)
    used = [kind for kind in CLASSES if any(own.get(kind) for _, own in rows)]
    far = [
        Row(
            spaced(one.keypoint),
            (Measure("median", one.relative[0], one.relative[0], one.relative[2]),),
        )
        for one in shown
    ]
    spread = intervals(
        far, "distance, % of sqrt(area)",
        "Distance from the annotated place relative to the person's size, from the median to the "
        "90 % quantile, by keypoint",
        quantiles=True,
    )  # fmt: skip
    return side_by_side(
        [
            figure("Classes", class_key(used) + chart),
            figure("Distances: the median (dot) to the 90 % quantile", spread),
        ]
    ) + folded("Classes and distances as a table", _keypoint_table(shown))


def class_shares(counts: dict[str, int]) -> dict[str, float]:
    """Return the share of each class, those that are good first."""
    total = max(sum(counts.values()), 1)
    return {kind: counts.get(kind, 0) / total for kind in CLASSES if counts.get(kind)}


def class_key(kinds: Iterable[str]) -> str:
    return key((f"k-{kind}", class_label(kind)) for kind in kinds)


def class_label(kind: str) -> str:
    return _CLASS_LABELS.get(kind) or ERRORS[kind].label


def _keypoint_table(keypoints: Sequence[KeypointErrors]) -> str:
    kinds = [kind for kind in CLASSES if any(one.shares.get(kind) for one in keypoints)]
    sizes = [size for size in keypoints[0].pixels if size != "all"]
    middle, far = QUANTILES.index(0.5), QUANTILES.index(0.9)
    columns = [
        Column("keypoint"),
        Column("labelled", numeric=True, best_first="high"),
        *(Column(class_label(k), numeric=True, best_first="high", group="%") for k in kinds),
        *(
            Column(f"{size} {level}", numeric=True, group="pixels: median and 90 %")
            for size in sizes
            for level in ("50", "90")
        ),
        Column("50", numeric=True, group="% of sqrt(area)"),
        Column("90", numeric=True, group="% of sqrt(area)"),
    ]
    names = {one.keypoint: index for index, one in enumerate(keypoints)}
    rows: list[list[str | Cell]] = [
        [
            Cell(spaced(one.keypoint), link=f"filter-keypoint-{names[one.keypoint]}"),
            str(one.count),
            *(f"{100 * one.shares.get(kind, 0) / one.count:.1f}" for kind in kinds),
            *(_digits(one.pixels[size][at]) for size in sizes for at in (middle, far)),
            *(_digits(100 * one.relative[at]) for at in (middle, far)),
        ]
        for one in keypoints
    ]
    return sortable_table(columns, rows, "Classes and distances by keypoint")


def _digits(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else ""


# ------------------------------------------------------------------------------------------ where


def where_part(analysis: Analysis) -> str:
    """Return AP by group of people or images."""
    figures = []
    axis = limits([one.ap for one in analysis.groups])
    for by in dict.fromkeys(one.by for one in analysis.groups):
        own = [one for one in analysis.groups if one.by == by]
        rows = [
            Row(one.group, (_measure("AP", one.ap, "s0"),), f"{one.people:,} people",
                one.people < FEW)
            for one in own
        ]  # fmt: skip
        about = f"AP {GROUPINGS.get(by, by)}: " + ", ".join(
            f"{points(one.ap.value)} {group_text(one.by, one.group)}" for one in own
        )
        figures.append(
            figure(f"AP {GROUPINGS.get(by, by)}", intervals(rows, "AP, %", about, limits=axis))
        )
    return side_by_side(figures) + note(
        "Images can be compared with other images. In a group of people the others are ignored, "
        "but false positives anywhere count, so a group of few people has a low AP: compare it "
        f"with that of another model. Faint: fewer than {FEW} people."
    )
