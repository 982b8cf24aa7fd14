"""A comparison as tidy tables, and as the table of a paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from posebench.bench.comparison.values import Comparison
from posebench.bench.statistics import Interval
from posebench.files import atomic_write

_COLUMNS = {
    "metrics": [
        "model", "metric", "value", "low", "high", "letters", "draws", "seed", "images", "people",
    ],
    "differences": [
        "better", "worse", "group", "group_value", "metric", "value", "low", "high", "p",
        "p_adjusted", "smallest", "draws",
    ],
    "groups": ["model", "group", "group_value", "metric", "value", "low", "high", "people",
               "images", "draws"],
    "images": ["model", "image", "image_id", "people", "crowd_index", "cost"],
    "errors": ["better", "worse", "kind", "value", "low", "high", "draws"],
}  # fmt: skip


def tidy_tables(compared: Comparison) -> dict[str, pd.DataFrame]:
    """Return the tables of a comparison, AP in percent; empty ones have their columns."""
    rows = {
        "metrics": _metrics(compared),
        "differences": _differences(compared),
        "groups": _groups(compared),
        "images": _images(compared),
        "errors": _errors(compared),
    }
    return {name: pd.DataFrame(list(own), columns=_COLUMNS[name]) for name, own in rows.items()}


def _percent(interval: Interval) -> dict[str, float]:
    return {
        "value": 100 * interval.value, "low": 100 * interval.low, "high": 100 * interval.high,
    }  # fmt: skip


def _metrics(compared: Comparison) -> Iterator[dict[str, Any]]:
    for model in compared.models:
        for name, interval in model.metrics.items():
            yield {
                "model": model.name, "metric": name, **_percent(interval),
                "letters": model.letters, "draws": compared.draws, "seed": compared.seed,
                "images": compared.num_images, "people": compared.num_people,
            }  # fmt: skip


def _differences(compared: Comparison) -> Iterator[dict[str, Any]]:
    for pair in compared.pairs:
        yield {
            "better": pair.better, "worse": pair.worse, "group": "all", "group_value": "",
            "metric": "AP", **_percent(pair.difference), "p": pair.p,
            "p_adjusted": pair.p_adjusted, "smallest": 100 * pair.smallest,
            "draws": compared.draws,
        }  # fmt: skip
    for one in compared.group_differences:
        yield {
            "better": one.better, "worse": one.worse, "group": one.by, "group_value": one.group,
            "metric": "AP", **_percent(one.difference), "p": one.p, "draws": compared.draws,
        }  # fmt: skip


def _groups(compared: Comparison) -> Iterator[dict[str, Any]]:
    for one in compared.groups:
        yield {
            "model": one.model, "group": one.by, "group_value": one.group, "metric": "AP",
            **_percent(one.ap), "people": one.people, "images": one.images,
            "draws": compared.draws,
        }  # fmt: skip


def _images(compared: Comparison) -> Iterator[dict[str, Any]]:
    for one in compared.images:
        for model, cost in one.cost.items():
            yield {
                "model": model, "image": one.image, "image_id": one.image_id,
                "people": one.people, "crowd_index": one.crowd_index, "cost": 100 * cost,
            }  # fmt: skip


def _errors(compared: Comparison) -> Iterator[dict[str, Any]]:
    for one in compared.errors:
        yield {
            "better": one.better, "worse": one.worse, "kind": one.kind,
            **_percent(one.difference), "draws": compared.draws,
        }  # fmt: skip


def latex_table(compared: Comparison) -> str:
    """Return the models and their metrics as a LaTeX table with the letters of significance."""
    names = list(compared.models[0].metrics)
    lines = [
        r"\begin{tabular}{l" + "r" * len(names) + "}",
        r"\hline",
        _row(["model", *names]),
        r"\hline",
    ]
    for model in compared.models:
        cells = [_number(model.metrics[name]) for name in names]
        cells[0] = rf"{cells[0]}$^{{\mathrm{{{model.letters}}}}}$"
        lines.append(_row([_escaped(model.name), *cells]))
    note = (
        f"% Models that share a letter do not differ significantly: exchange of images, "
        f"{compared.draws} draws, Holm, 5 %."
    )
    return "\n".join([*lines, r"\hline", r"\end{tabular}", note, ""])


def write_text_tables(compared: Comparison, folder: Path) -> None:
    """Write `comparison.tex`, the table of a paper."""
    with atomic_write(folder / "comparison.tex") as beside:
        beside.write_text(latex_table(compared), encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _number(interval: Interval) -> str:
    return "--" if interval.value != interval.value else f"{100 * interval.value:.1f}"


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
