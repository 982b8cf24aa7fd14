"""The results of a study: tidy rows, a summary beside the printed figures, the tested ordering."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.experiments import Experiment, SplitSpec, resolve
from posebench.bench.ablation.ordering import (
    Pair,
    Verdict,
    conclusion,
    ordered_pairs,
    overall_verdict,
)
from posebench.bench.ablation.tasks import load_result, provenance_of_result, result_folder
from posebench.bench.draws import RESAMPLES
from posebench.bench.flops import meta_model
from posebench.bench.tables import load_table, read_text, table_names
from posebench.engine import Provenance, tidy_rows
from posebench.files import atomic_write, read_json
from posebench.ground_truth import GroundTruth
from posebench.metrics import main_parts
from posebench.metrics.matching import Matches
from posebench.metrics.resampling import matches
from posebench.models import STUDIES
from posebench.skeleton import SKELETONS
from posebench.structures import Protocol
from posebench.studies import Study, Variant

# Printed columns that the summary repeats.
_PRINTED = ("AP", "AP50", "AP75", "APM", "APL", "APE", "APM_crowd", "APH", "params_M", "params_MB")

_Truth = tuple[GroundTruth, Protocol]  # annotations in COCO's format, and their protocol


@dataclass(frozen=True)
class Analysis:
    """The results of the tests of a study that are done."""

    rows: pd.DataFrame  # tidy: variant, seed, metric, value in percent
    summary: pd.DataFrame  # one row per variant: mean, std, n, and the printed figures
    pairs: list[Pair]

    @property
    def verdict(self) -> Verdict:
        """The verdict on the paper's ordering."""
        return overall_verdict(self.pairs)

    @property
    def conclusion(self) -> str:
        """The verdict on the paper's ordering as a sentence."""
        return conclusion(self.pairs)

    def pair_rows(self) -> pd.DataFrame:
        """Return one row per pair, AP in percent."""
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

    def write(self, folder: Path) -> None:
        """Write `results.csv` (tidy), `summary.csv` and `pairs.csv`."""
        for name, rows in (
            ("results", self.rows), ("summary", self.summary), ("pairs", self.pair_rows()),
        ):  # fmt: skip
            with atomic_write(folder / f"{name}.csv") as beside:
                rows.to_csv(beside, index=False)


def analyse(
    config: StudyConfig, folder: Path, seeds: Sequence[int], resamples: int = RESAMPLES
) -> Analysis:
    """Return the results of a study from the tests that are done.

    Args:
        config: the study.
        folder: the results folder, `runs/ablate`.
        seeds: of the trainings; those without results are left out.
        resamples: number of resamples of the images in each comparison.
    """
    study, experiments = STUDIES[config.study], resolve(config)
    results = {
        (one.variant.name, seed): metrics
        for one in experiments
        for seed in (seeds if one.training else seeds[:1])
        if (metrics := load_result(folder, one, seed)) is not None
    }
    tables: list[pd.DataFrame] = []
    truths: dict[SplitSpec, _Truth] = {}
    models: dict[str, dict[int, Matches]] = {one.variant.name: {} for one in experiments}
    for one in experiments:
        for seed in seeds:
            name = one.variant.name
            if (name, seed) in results:
                provenance = provenance_of_result(folder, one, seed)
                tables.append(_rows(config, one, seed, results[name, seed], provenance))
                models[name][seed] = _matches(config, one, folder, seed, truths)
    return Analysis(
        rows=pd.concat(tables) if tables else pd.DataFrame(),
        summary=pd.DataFrame(_summary(study, one, results) for one in experiments),
        pairs=ordered_pairs(expected_order(study, experiments), models, resamples),
    )


# --------------------------------------------------------------------------------- printed figures


def printed_value(study: Study, variant: Variant, column: str = "") -> float | None:
    """Return a figure that the paper prints for a variant; None if it prints none.

    Args:
        study: the variant's study.
        variant: the variant.
        column: of the printed table; empty: the one by which the paper orders the variants.
    """
    if variant.fact:
        return None if column else _text_fact(variant.fact)
    name = variant.table or study.table
    if not variant.row or name not in table_names():
        return None
    rows = load_table(name).rows
    row = rows.loc[rows["row"] == str(variant.row)].iloc[0]
    text = row.get(column or variant.column or study.column, "")
    return float(text) if text else None


def _text_fact(name: str) -> float:
    """Return a figure that a paper states in its text."""
    records = csv.DictReader(io.StringIO(read_text("text_facts.csv")))
    return next(float(record["value"]) for record in records if record["id"] == name)


def expected_order(
    study: Study, experiments: Sequence[Experiment]
) -> list[tuple[str, str, float | None]]:
    """Return the pairs of variants that the paper orders and that are tested on the same images.

    Returns:
        Worse variant, better variant, printed difference (None if the paper prints no values).
    """
    test_data = {one.variant.name: one.data for one in experiments}
    if study.expected:
        return [(worse, better, None) for worse, better in study.expected if worse in test_data]
    values = [(one.variant.name, printed_value(study, one.variant)) for one in experiments]
    return [
        (worse, better, round(high - low, 2))
        for better, high in values
        for worse, low in values
        if high is not None
        and low is not None
        and high > low
        and test_data[worse] == test_data[better]
    ]


# -------------------------------------------------------------------------------------------- rows


def _rows(
    config: StudyConfig,
    experiment: Experiment,
    seed: int,
    metrics: dict[str, float],
    provenance: Provenance,
) -> pd.DataFrame:
    rows = tidy_rows(
        metrics, recipe=experiment.recipe, dataset=experiment.data.dataset,
        split=experiment.data.split, tta=experiment.recipe.inference.label,
        device=torch.device(config.device), precision=config.precision, provenance=provenance,
    )  # fmt: skip
    # Not "measured", since changed recipes must not fill the rows of the papers' tables.
    rows["source"] = f"ablation:{config.study}"
    rows.insert(0, "study", config.study)
    rows.insert(1, "variant", experiment.variant.name)
    rows.insert(2, "seed", seed)
    rows.insert(3, "steps", experiment.training.steps if experiment.training else 0)
    return rows


def _matches(
    config: StudyConfig,
    experiment: Experiment,
    folder: Path,
    seed: int,
    truths: dict[SplitSpec, _Truth],
) -> Matches:
    """Return the matches of a test's predictions; `truths` keeps the ground truth of each split."""
    if experiment.data not in truths:
        dataset = experiment.data.open(config.data_root)
        truths[experiment.data] = (dataset.ground_truth(), dataset.protocol)
    path = result_folder(folder, experiment, seed) / "predictions.json"
    predictions = read_json(path, "the predictions of a test")
    truth, protocol = truths[experiment.data]
    return matches(truth, predictions, protocol)


def _summary(
    study: Study, experiment: Experiment, results: dict[tuple[str, int], dict[str, float]]
) -> dict[str, Any]:
    """Return a variant's AP over seeds and the printed figures."""
    variant = experiment.variant
    own = [metrics for (name, _), metrics in results.items() if name == variant.name]
    values = pd.Series([100 * metrics["AP"] for metrics in own], dtype=float)
    row: dict[str, Any] = {
        "variant": variant.name,
        "AP": values.mean(),
        "std": values.std(ddof=1),
        "n": len(values),
        "printed": printed_value(study, variant),
        "params_M": _parameters(experiment) / 1e6,
    }
    for column in _PRINTED:
        value = printed_value(study, variant, column)
        if value is not None:
            row[f"printed {column}"] = value
    for name in main_parts(own[0]) if own else ():
        parts = pd.Series([100 * metrics[name] for metrics in own if metrics[name] >= 0])
        row[name] = parts.mean()
    return row


def _parameters(experiment: Experiment) -> int:
    skeleton = SKELETONS[experiment.data.skeleton]
    network = meta_model(replace(experiment.recipe, skeleton=skeleton))
    return sum(parameter.numel() for parameter in network.parameters())
