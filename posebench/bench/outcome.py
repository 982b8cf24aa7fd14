"""What a study found: tidy rows, a summary beside the paper's figures, and the verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from posebench.bench.ablate import test_folder, tested
from posebench.bench.ablation import Line, Place, Setup, resolve
from posebench.bench.comparison import Pair, Verdict, ordered_pairs, sentence, verdict
from posebench.bench.flops import meta_model
from posebench.bench.statistics import RESAMPLES
from posebench.bench.tables import load_table, read_text, table_names
from posebench.engine import tidy_rows
from posebench.files import atomic_write, read_json
from posebench.metrics import main_parts
from posebench.metrics.matching import Matches
from posebench.metrics.resampling import matches
from posebench.models import STUDIES
from posebench.structures import SKELETONS, Protocol
from posebench.studies import Study, Variant

# Metrics as papers' columns call them.
_PRINTED = ("AP", "AP50", "AP75", "APM", "APL", "APE", "APM_crowd", "APH", "params_M", "params_MB")

_Truth = tuple[dict[str, Any], Protocol]  # annotations in COCO's format, and their protocol


@dataclass(frozen=True)
class Outcome:
    """Tables of what is done of a study."""

    rows: pd.DataFrame  # tidy: variant, seed, metric, value in percent
    summary: pd.DataFrame  # a row for each variant: mean, std, n, and the printed figures
    pairs: list[Pair]

    @property
    def verdict(self) -> Verdict:
        return verdict(self.pairs)

    @property
    def sentence(self) -> str:
        return sentence(self.pairs)

    def pair_rows(self) -> pd.DataFrame:
        """Return the pairs as a table, AP in percent."""
        return pd.DataFrame(
            {
                "worse": pair.worse,
                "better": pair.better,
                "printed": pair.printed,
                "difference": 100 * pair.difference.value,
                "low": 100 * pair.difference.low,
                "high": 100 * pair.difference.high,
                "p_images": pair.difference.p_images,
                "p_images_holm": pair.p_adjusted,
                "p_seeds": pair.difference.p_seeds,
                "seeds_above": pair.difference.seeds_above,
                "seeds": pair.difference.seeds,
                "verdict": pair.verdict,
            }
            for pair in self.pairs
        )


def printed(study: Study, variant: Variant, column: str = "") -> float | None:
    """Return what the paper prints of a variant: the figure by which it is ordered, or a column's.

    None: it prints none.
    """
    if variant.fact:
        return None if column else _fact(variant.fact)
    name = variant.table or study.table
    if not variant.row or name not in table_names():
        return None
    rows = load_table(name).rows
    text = (
        rows.loc[rows["row"] == str(variant.row)]
        .iloc[0]
        .get(column or variant.column or study.column, "")
    )
    return float(text) if text else None


def _fact(name: str) -> float:
    """Return a figure of a paper's running text."""
    records = csv.DictReader(io.StringIO(read_text("text_facts.csv")))
    return next(float(record["value"]) for record in records if record["id"] == name)


def expected_order(study: Study, lines: Sequence[Line]) -> list[tuple[str, str, float | None]]:
    """Return the pairs of variants, tested on the same images, that the paper tells apart.

    Returns:
        Worse, better, and by how much.
    """
    places = {line.variant.name: line.place for line in lines}
    if study.expected:
        return [(worse, better, None) for worse, better in study.expected if worse in places]
    values = [(line.variant.name, printed(study, line.variant)) for line in lines]
    return [
        (worse, better, round(high - low, 2))
        for better, high in values
        for worse, low in values
        if high is not None and low is not None and high > low and places[worse] == places[better]
    ]


def outcome(
    setup: Setup, folder: Path, seeds: Sequence[int], resamples: int = RESAMPLES
) -> Outcome:
    """Return what is there of a study, for as many of the seeds as there are."""
    study, lines = STUDIES[setup.study], resolve(setup)
    found = {
        (line.variant.name, seed): metrics
        for line in lines
        for seed in (seeds if line.training else seeds[:1])
        if (metrics := tested(folder, line, seed)) is not None
    }
    rows = [
        _rows(setup, line, seed, found[line.variant.name, seed])
        for line in lines
        for seed in seeds
        if (line.variant.name, seed) in found
    ]
    truths: dict[Place, _Truth] = {}
    models: dict[str, dict[int, Matches]] = {line.variant.name: {} for line in lines}
    for line in lines:
        for seed in seeds:
            if (line.variant.name, seed) in found:
                own = _matches(setup, line, folder, seed, truths)
                models[line.variant.name][seed] = own
    pairs = ordered_pairs(expected_order(study, lines), models, resamples)
    summary = pd.DataFrame(_summary(study, line, found) for line in lines)
    return Outcome(pd.concat(rows) if rows else pd.DataFrame(), summary, pairs)


def _rows(setup: Setup, line: Line, seed: int, metrics: dict[str, float]) -> pd.DataFrame:
    rows = tidy_rows(
        metrics, recipe=line.recipe, dataset=line.place.dataset, split=line.place.split,
        tta=line.recipe.inference.label, device=torch.device(setup.device),
        precision=setup.precision,
    )  # fmt: skip
    # Not "measured": recipes are changed here, so these are no rows of the papers' tables.
    rows["source"] = f"ablation:{setup.study}"
    rows.insert(0, "study", setup.study)
    rows.insert(1, "variant", line.variant.name)
    rows.insert(2, "seed", seed)
    rows.insert(3, "steps", line.training.steps if line.training else 0)
    return rows


def _matches(
    setup: Setup, line: Line, folder: Path, seed: int, truths: dict[Place, _Truth]
) -> Matches:
    if line.place not in truths:
        dataset = line.place.open(setup.data_root)
        truths[line.place] = (dataset.ground_truth(), dataset.protocol)
    path = test_folder(folder, line, seed) / "predictions.json"
    results = read_json(path, "the predictions of a test")
    ground_truth, protocol = truths[line.place]
    return matches(ground_truth, results, protocol)


def _summary(
    study: Study, line: Line, found: dict[tuple[str, int], dict[str, float]]
) -> dict[str, Any]:
    """Return mean, deviation and number of the AP that is compared, and the printed figures."""
    own = [metrics for (name, _), metrics in found.items() if name == line.variant.name]
    values = pd.Series([100 * metrics["AP"] for metrics in own], dtype=float)
    row: dict[str, Any] = {
        "variant": line.variant.name,
        "AP": values.mean(),
        "std": values.std(ddof=1),
        "n": len(values),
        "printed": printed(study, line.variant),
        "params_M": _parameters(line) / 1e6,
    }
    for column in _PRINTED:
        value = printed(study, line.variant, column)
        if value is not None:
            row[f"printed {column}"] = value
    for name in main_parts(own[0]) if own else ():
        parts = pd.Series([100 * metrics[name] for metrics in own if metrics[name] >= 0])
        row[name] = parts.mean()
    return row


def _parameters(line: Line) -> int:
    network = meta_model(replace(line.recipe, skeleton=SKELETONS[line.place.skeleton]))
    return sum(parameter.numel() for parameter in network.parameters())


def write(found: Outcome, folder: Path) -> None:
    """Write `results.csv` (tidy), `summary.csv` and `pairs.csv`."""
    for name, rows in (
        ("results", found.rows), ("summary", found.summary), ("pairs", found.pair_rows()),
    ):  # fmt: skip
        with atomic_write(folder / f"{name}.csv") as beside:
            rows.to_csv(beside, index=False)
