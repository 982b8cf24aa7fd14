"""Tidy rows of timings, and the ranking of those that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from posebench.bench.speed.options import NETWORK, SpeedOptions, input_cases, label_of
from posebench.bench.speed.rounds import Timing
from posebench.bench.statistics import quantile, ranking, ratio
from posebench.engine import write_results
from posebench.engine.runs import git_commit, hardware
from posebench.files import atomic_write
from posebench.models import RECIPES

# Only rows that agree in all of these are ranked together.
COMPARED = (
    "protocol", "case", "people", "batch_size", "options", "hardware", "precision",
)  # fmt: skip
# Rows that agree in all of these belong to the same timing.
IDENTITY = ("recipe", "backend", *COMPARED)

_COLUMNS = (
    "recipe", "backend", "method", "backbone", "input_size", "dataset", "split", "tta", "protocol",
    "case", "people", "batch_size", "options", "metric", "value", "unit", "source", "hardware",
    "precision", "date", "commit", "error",
)  # fmt: skip
_COMPARISONS = ("rank", "ratio", "ratio_low", "ratio_high")

_Metrics = dict[str, tuple[float | None, str]]  # metric -> value, unit


def identity_of(row: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return what identifies the timing that a row belongs to."""
    return tuple(str(row[column]) for column in IDENTITY)


def timing_rows(timings: Sequence[Timing], options: SpeedOptions) -> pd.DataFrame:
    """Return one tidy row per metric of each timing."""
    rows = []
    made = {
        "source": "measured",
        "date": datetime.now().date().isoformat(),
        "commit": git_commit(),
    }
    for timing in timings:
        common = {**conditions_of(timing, options), **made, "error": timing.error}
        rows += [
            {**common, "metric": metric, "value": value, "unit": unit}
            for metric, (value, unit) in _metrics(timing, options).items()
        ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def round_rows(timings: Sequence[Timing], options: SpeedOptions) -> pd.DataFrame:
    """Return one row per round of each timing, from which models are compared."""
    rows = [
        {**{k: v for k, v in conditions_of(timing, options).items() if k in IDENTITY},
         "round": number, "passes": len(timing.rounds[number]), "seconds": seconds}
        for timing in timings
        for number, seconds in timing.by_round().items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*IDENTITY, "round", "passes", "seconds"])


def conditions_of(timing: Timing, options: SpeedOptions) -> dict[str, Any]:
    """Return the columns that say what was timed, and how."""
    recipe = None if timing.predictor else RECIPES[timing.name]
    case = input_cases(recipe or timing.predictor or RECIPES[timing.name], options)[timing.case]
    size = timing.stats.size if timing.stats else case.size
    return {
        "hardware": hardware(torch.device(options.device)),
        "precision": options.precision,
        "recipe": timing.name,
        "backend": timing.backend,
        "method": recipe.method if recipe else "",
        "backbone": recipe.config.backbone if recipe else "",
        "input_size": "x".join(map(str, size)) if size else "",
        "dataset": "synthetic",
        "split": "val",
        "tta": "none",
        "protocol": options.protocol,
        # Where papers time several sizes, the first ones are compared with each other.
        "case": timing.case // len(options.people) + 1,
        "people": case.people,
        "batch_size": options.batch_size,
        "options": options.label,
    }


def _metrics(timing: Timing, options: SpeedOptions) -> _Metrics:
    if not timing.rounds or timing.stats is None:
        return {"latency_p50": (None, "ms")}
    seconds = timing.seconds()
    metrics: _Metrics = {}
    if not options.alternatives:  # their times do not add up to a pass
        for name, level in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            metrics[f"latency_{name}"] = (1000 * quantile(seconds, level), "ms")
        metrics["fps"] = (options.batch_size / quantile(seconds, 0.5), "images/s")
        forward = timing.seconds(lambda stage: stage.startswith(NETWORK))
        if any(forward):
            metrics["forward_p50"] = (1000 * quantile(forward, 0.5), "ms")
        else:  # a predictor's network is not seen
            metrics["forward_p50"] = (None, "ms")
    stages = dict.fromkeys(s for passes in timing.rounds.values() for s in passes[0])
    for stage in stages:
        own = timing.seconds(lambda name, stage=stage: name == stage)  # type: ignore[misc]
        metrics[f"stage/{stage}_p50"] = (1000 * quantile(own, 0.5), "ms")
    metrics["passes"] = (len(seconds), "count")
    metrics["rounds"] = (len(timing.rounds), "count")
    stats = timing.stats
    if stats.agreement:
        metrics["outputs_equal"] = (float(stats.equal), stats.agreement)
    return metrics | {
        "params_M": (stats.parameters / 1e6, "million"),
        "params_MB": (stats.weight_bytes / 1e6, "MB"),
        "activation_MB": (stats.activation_bytes / 1e6, "MB"),
        "peak_MB": ((stats.weight_bytes + stats.activation_bytes) / 1e6, "MB"),
        "gmacs": (stats.macs / 1e9, "GMACs"),
        "gmacs_as_written": (stats.macs_as_written / 1e9, "GMACs"),
        "gflops": (stats.flops / 1e9, "GFLOPs"),
        "gflops_folded": (stats.flops_folded / 1e9, "GFLOPs"),
        "people_decoded": (stats.decoded, "count"),
    }


def with_comparisons(rows: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with each timing's rank and its ratio to the first model of its group.

    Args:
        rows: of `timing_rows`; comparisons in them are replaced.
        rounds: of `round_rows`.
    """
    rows, rounds = with_backend(rows), with_backend(rounds)
    rows = rows[~rows["metric"].isin(_COMPARISONS)]
    added = []
    for _, group in rounds.groupby(list(COMPARED), sort=False, dropna=False):
        by_recipe = {
            label_of(*map(str, model)): dict(zip(own["round"], own["seconds"], strict=True))
            for model, own in group.groupby(["recipe", "backend"], sort=False)
        }
        first = next(iter(by_recipe))
        key = group.iloc[0]
        same = rows[(rows[list(COMPARED)] == key[list(COMPARED)]).all(axis=1)]
        labels = [
            label_of(str(recipe), str(backend))
            for recipe, backend in zip(same["recipe"], same["backend"], strict=True)
        ]
        own_rows = dict(iter(same.groupby(pd.Index(labels), sort=False)))
        # Whoever computes something else is not faster at the same work.
        others = {name for name, own in own_rows.items() if _unequal(own)}
        ranks = ranking({name: own for name, own in by_recipe.items() if name not in others})
        for name, own in by_recipe.items():
            example = own_rows[name].iloc[0].to_dict()
            values = {"rank": (float(ranks[name]), "place")} if name in ranks else {}
            to_first = ratio(own, by_recipe[first])
            if to_first is not None and name != first:
                unit = f"times {first}"
                values |= {
                    "ratio": (to_first.value, unit),
                    "ratio_low": (to_first.low, unit),
                    "ratio_high": (to_first.high, unit),
                }
            added += [
                {**example, "metric": metric, "value": value, "unit": unit}
                for metric, (value, unit) in values.items()
            ]
    return pd.concat([rows, pd.DataFrame(added, columns=rows.columns)], ignore_index=True)


def with_backend(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the column `backend`, which earlier versions did not write."""
    if not len(table) or "backend" in table:
        return table
    return table.assign(backend="torch")


def _unequal(rows: pd.DataFrame) -> bool:
    """Return whether a backend's outputs differ from PyTorch's."""
    return bool((rows.loc[rows["metric"] == "outputs_equal", "value"] == 0).any())


def read_tables(run: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows and the rounds of a run; empty tables if it has none yet."""
    rows, rounds = (
        pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame()
        for path in (run / "results.csv", run / "rounds.csv")
    )
    rows, rounds = with_backend(rows), with_backend(rounds)
    if len(rows):
        rows["value"] = pd.to_numeric(rows["value"], errors="coerce")
    return rows, rounds


def write_tables(run: Path, rows: pd.DataFrame, rounds: pd.DataFrame) -> None:
    """Write the rows and the rounds of a run."""
    write_results(run, rows)
    with atomic_write(run / "rounds.csv") as beside:
        rounds.to_csv(beside, index=False)
