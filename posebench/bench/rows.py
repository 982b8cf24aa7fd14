"""Tidy rows of what was timed, and the ranking of those that may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from posebench.bench.speed import SpeedOptions, cases
from posebench.bench.statistics import quantile, ranking, ratio
from posebench.bench.subject import NETWORK, Facts
from posebench.bench.turns import Timing
from posebench.engine import write_results
from posebench.engine.runs import git_commit, hardware
from posebench.files import atomic_write
from posebench.models import RECIPES

# Rows that differ in one of these are never in one ranking.
COMPARED = (
    "protocol", "case", "people", "batch_size", "options", "hardware", "precision",
)  # fmt: skip
# With these a row is the same measurement as another.
IDENTITY = ("recipe", *COMPARED)

_COLUMNS = (
    "recipe", "method", "backbone", "input_size", "dataset", "split", "tta", "protocol", "case",
    "people", "batch_size", "options", "metric", "value", "unit", "source", "hardware",
    "precision", "date", "commit", "error",
)  # fmt: skip
_COMPARISONS = ("rank", "ratio", "ratio_low", "ratio_high")


def in_network(stage: str) -> bool:
    return stage.startswith(NETWORK)


def timing_rows(timings: Sequence[Timing], options: SpeedOptions) -> pd.DataFrame:
    """Return a row for each metric of each timing."""
    rows = []
    made = {
        "source": "measured",
        "date": datetime.now().date().isoformat(),
        "commit": git_commit(),
    }
    for timing in timings:
        common = {**place_of(timing, options), **made, "error": timing.error}
        metrics = _metrics(timing, options)
        rows += [
            {**common, "metric": metric, "value": value, "unit": unit}
            for metric, (value, unit) in metrics.items()
        ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def round_rows(timings: Sequence[Timing], options: SpeedOptions) -> pd.DataFrame:
    """Return a row for each round of each timing: what comparisons are made of."""
    rows = [
        {**{k: v for k, v in place_of(timing, options).items() if k in IDENTITY},
         "round": number, "passes": len(timing.rounds[number]), "seconds": seconds}
        for timing in timings
        for number, seconds in timing.by_round().items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*IDENTITY, "round", "passes", "seconds"])


def place_of(timing: Timing, options: SpeedOptions) -> dict[str, Any]:
    """Return the columns that say what a timing is of."""
    recipe = RECIPES[timing.name]
    case = cases(recipe, options)[timing.case]
    size: tuple[int, int] | None = timing.facts.size if timing.facts else case.size
    return {
        "hardware": hardware(options.device),
        "precision": options.precision,
        "recipe": recipe.name,
        "method": recipe.method,
        "backbone": recipe.config.backbone,
        "input_size": "x".join(map(str, size)) if size else "",
        "dataset": "synthetic",
        "split": "val",
        "tta": "none",
        "protocol": options.protocol,
        # Of several sizes, the first are compared with the first.
        "case": timing.case // len(options.people) + 1,
        "people": case.people,
        "batch_size": options.batch_size,
        "options": options.label,
    }


def _metrics(timing: Timing, options: SpeedOptions) -> dict[str, tuple[float | None, str]]:
    if not timing.rounds:
        return {"latency_p50": (None, "ms")}
    seconds = timing.seconds()
    found: dict[str, tuple[float | None, str]] = {}
    stages = list(dict.fromkeys(s for passes in timing.rounds.values() for s in passes[0]))
    if not options.alternatives:  # whose stages are not parts of a whole
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            found[f"latency_{name}"] = (1000 * quantile(seconds, share), "ms")
        found["fps"] = (options.batch_size / quantile(seconds, 0.5), "images/s")
        forward = timing.seconds(in_network)
        found["forward_p50"] = (1000 * quantile(forward, 0.5), "ms")
    for stage in stages:
        own = timing.seconds(lambda name, stage=stage: name == stage)  # type: ignore[misc]
        found[f"stage/{stage}_p50"] = (1000 * quantile(own, 0.5), "ms")
    found["passes"] = (len(seconds), "count")
    found["rounds"] = (len(timing.rounds), "count")
    facts: Facts = timing.facts
    found |= {
        "params_M": (facts.parameters / 1e6, "million"),
        "params_MB": (facts.weight_bytes / 1e6, "MB"),
        "activation_MB": (facts.activation_bytes / 1e6, "MB"),
        "peak_MB": ((facts.weight_bytes + facts.activation_bytes) / 1e6, "MB"),
        "gmacs": (facts.macs / 1e9, "GMACs"),
        "gmacs_as_written": (facts.macs_as_written / 1e9, "GMACs"),
        "gflops": (facts.flops / 1e9, "GFLOPs"),
        "gflops_folded": (facts.flops_folded / 1e9, "GFLOPs"),
        "people_decoded": (facts.decoded, "count"),
    }
    return found


def with_comparisons(rows: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with each timing's rank and its ratio to the first one of its group."""
    rows = rows[~rows["metric"].isin(_COMPARISONS)]
    added = []
    for _, group in rounds.groupby(list(COMPARED), sort=False, dropna=False):
        by_recipe = {
            str(name): dict(zip(own["round"], own["seconds"], strict=True))
            for name, own in group.groupby("recipe", sort=False)
        }
        first = next(iter(by_recipe))
        ranks = ranking(by_recipe)
        key = group.iloc[0]
        same = (rows[list(COMPARED)] == key[list(COMPARED)]).all(axis=1)
        for name, own in by_recipe.items():
            example = rows[same & (rows["recipe"] == name)].iloc[0].to_dict()
            values = {"rank": (float(ranks[name]), "place")}
            against = ratio(own, by_recipe[first])
            if against is not None and name != first:
                unit = f"times {first}"
                values |= {
                    "ratio": (against.value, unit),
                    "ratio_low": (against.low, unit),
                    "ratio_high": (against.high, unit),
                }
            added += [
                {**example, "metric": metric, "value": value, "unit": unit}
                for metric, (value, unit) in values.items()
            ]
    return pd.concat([rows, pd.DataFrame(added, columns=rows.columns)], ignore_index=True)


def read(run: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows and the rounds of a run; none where it has none yet."""
    found = []
    for name in ("results.csv", "rounds.csv"):
        path = run / name
        table = pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame()
        found.append(table)
    rows, rounds = found
    if len(rows):
        rows["value"] = pd.to_numeric(rows["value"], errors="coerce")
    return rows, rounds


def write(run: Path, rows: pd.DataFrame, rounds: pd.DataFrame) -> None:
    """Write both tables."""
    write_results(run, rows)
    with atomic_write(run / "rounds.csv") as beside:
        rounds.to_csv(beside, index=False)


def stages_of(rows: pd.DataFrame) -> dict[str, float]:
    """Return the milliseconds of each stage in one timing's rows."""
    found = rows[rows["metric"].str.startswith("stage/")]
    names = found["metric"].str.removeprefix("stage/").str.removesuffix("_p50")
    return dict(zip(names, found["value"], strict=True))
