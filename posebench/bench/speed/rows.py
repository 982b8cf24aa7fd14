"""Tidy rows of timings, and the ranking of those that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from posebench.bench.speed.inputs import timed_crowds
from posebench.bench.speed.interval import median_interval
from posebench.bench.speed.options import (
    NETWORK,
    WEIGHTS_SEED,
    SpeedOptions,
    input_cases,
    label_of,
)
from posebench.bench.speed.rounds import Timing
from posebench.bench.statistics import quantile, ranking, ratio
from posebench.engine import Provenance, provenance_of, training_seed, write_results
from posebench.engine.provenance import COLUMNS as PROVENANCE
from posebench.engine.provenance import PROTOCOL_VERSION, recipe_hash
from posebench.engine.runs import git_commit, hardware
from posebench.files import atomic_write
from posebench.models import RECIPES
from posebench.shipped import shipped_weights
from posebench.skeleton import COCO

# Only rows that agree in all of these are ranked together.
COMPARED = (
    "protocol", "case", "people", "batch_size", "options", "hardware", "precision",
)  # fmt: skip
# Rows that agree in all of these belong to the same timing.
IDENTITY = ("recipe", "backend", *COMPARED)

_COLUMNS = (
    "recipe", "backend", "method", "backbone", "input_size", "dataset", "split", "tta", "protocol",
    "case", "people", "batch_size", "options", "metric", "value", "unit", "source", "hardware",
    "precision", "date", "commit", "low", "high", *PROVENANCE, "load", "error",
)  # fmt: skip
_COMPARISONS = ("rank", "ratio", "ratio_low", "ratio_high")

# Name -> level, and the number of passes that it needs: two of them lie beyond it.
PERCENTILES = {"p50": (0.5, 1), "p90": (0.9, 20), "p95": (0.95, 40), "p99": (0.99, 200)}

_Metrics = dict[str, tuple[float | None, str]]  # metric -> value, unit


def identity_of(row: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return what identifies the timing that a row belongs to."""
    return tuple(str(row[column]) for column in IDENTITY)


def is_current(row: Mapping[Any, Any]) -> bool:
    """Return whether a row was measured by today's rules, as far as it says."""
    version = row.get("protocol_version", "")
    return pd.isna(version) or version == "" or int(float(version)) == PROTOCOL_VERSION


def timing_rows(timings: Sequence[Timing], options: SpeedOptions) -> pd.DataFrame:
    """Return one tidy row per metric of each timing."""
    rows = []
    made = {
        "source": "measured",
        "date": datetime.now().date().isoformat(),
        "commit": git_commit(),
    }
    for timing in timings:
        own = _provenance(timing).columns()
        common = {**conditions_of(timing, options), **made, **own}
        common |= {"load": str(timing.load), "error": timing.error}
        limits = _intervals(timing, options)
        unknown = (None, None)
        rows += [
            {
                **common,
                "metric": metric,
                "value": value,
                "unit": unit,
                "low": limits.get(metric, unknown)[0],
                "high": limits.get(metric, unknown)[1],
            }
            for metric, (value, unit) in _metrics(timing, options).items()
        ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _provenance(timing: Timing) -> Provenance:
    """Return what a timing was made with; weights that do not come with the package are random."""
    recipe = None if timing.predictor else RECIPES[timing.name]
    weights = shipped_weights(timing.name) if recipe else None
    return replace(
        provenance_of(
            dataset=timed_crowds(), weights=weights,
            seeds={
                "training": training_seed(weights, {}) if weights else None,
                "weights": WEIGHTS_SEED if recipe and not weights else None,
            },
        ),
        recipe=recipe_hash(recipe, recipe.skeleton or COCO) if recipe else "",
    )  # fmt: skip


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
        for name, (level, passes) in PERCENTILES.items():
            enough = len(seconds) >= passes
            metrics[f"latency_{name}"] = (1000 * quantile(seconds, level) if enough else None, "ms")
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


def _intervals(timing: Timing, options: SpeedOptions) -> dict[str, tuple[float, float]]:
    """Return the limits of the 95 % intervals of the median pass and of what it gives."""
    if timing.stats is None or options.alternatives:
        return {}
    passes = [[1000 * sum(one.values()) for one in of_round] for of_round in timing.rounds.values()]
    found = median_interval(passes)
    if found is None:
        return {}
    low, high = found
    per_second = 1000 * options.batch_size
    return {"latency_p50": found, "fps": (per_second / high, per_second / low)}


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
            limits: dict[str, tuple[float, float]] = {}
            values = {"rank": (float(ranks[name]), "place")} if name in ranks else {}
            to_first = ratio(own, by_recipe[first])
            if to_first is not None and name != first:
                unit = f"times {first}"
                limits["ratio"] = to_first.low, to_first.high
                values |= {
                    "ratio": (to_first.value, unit),
                    "ratio_low": (to_first.low, unit),
                    "ratio_high": (to_first.high, unit),
                }
            unknown = (None, None)
            added += [
                {
                    **example,
                    "metric": metric,
                    "value": value,
                    "unit": unit,
                    "low": limits.get(metric, unknown)[0],
                    "high": limits.get(metric, unknown)[1],
                }
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
        # Rows of earlier versions lack the last columns.
        added = {name: "" for name in _COLUMNS if name not in rows}
        rows = rows.assign(**added)[[*_COLUMNS, *rows.columns.difference(list(_COLUMNS))]]
        for name in ("value", "low", "high"):
            rows[name] = pd.to_numeric(rows[name], errors="coerce")
    return rows, rounds


def write_tables(run: Path, rows: pd.DataFrame, rounds: pd.DataFrame) -> None:
    """Write the rows and the rounds of a run."""
    write_results(run, rows)
    with atomic_write(run / "rounds.csv") as beside:
        rounds.to_csv(beside, index=False)
