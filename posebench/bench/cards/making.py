"""The card of a run, from the files that its command left."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from posebench.bench.cards.hub import readme
from posebench.card import (
    Card,
    CardEnvironment,
    CardEvaluation,
    CardFile,
    CardModel,
    CardTraining,
)
from posebench.data.described import is_path
from posebench.engine.backend_names import EXPORTED
from posebench.engine.provenance import weights_hash
from posebench.engine.record import EvaluationRecord, find_record
from posebench.engine.runs import checkpoint_facts, environment
from posebench.errors import DataError
from posebench.exporting.card import SUFFIXES
from posebench.files import atomic_write, file_sha256, read_json
from posebench.shipped import FOLDER, read_card

CARD, README = "card.json", "README.md"

# Columns of timing rows that a card repeats.
_SPEED = (
    "metric", "value", "unit", "low", "high", "protocol", "people", "batch_size", "input_size",
    "precision", "backend", "options", "hardware", "load", "date", "commit", "protocol_version",
)  # fmt: skip


def make_card(run: Path, to: Path | None = None, speed: Path | None = None) -> Card:
    """Write the card of an evaluation or a training, and the page that model hubs show.

    Args:
        run: its folder.
        to: a folder, into which the weights and the result file are copied too; None: the card is
            written into the run folder, and names these files where they are.
        speed: the folder of a `posebench speed` run whose rows of the model the card shows.

    Raises:
        DataError: the folder holds no evaluation, or its files are damaged.
        PosebenchError: the card cannot be written.
    """
    if not (run / "metrics.json").is_file() or not (run / "results.csv").is_file():
        found = "without metrics.json and results.csv" if run.is_dir() else "that does not exist"
        raise DataError(
            f"Expected the run folder of `posebench eval` or of a finished training at {run}, but "
            f"found a folder {found}: evaluate the model first."
        )
    folder = to or run
    record = find_record(run)
    rows = pd.read_csv(run / "results.csv", keep_default_na=False, dtype=str)
    card = Card(
        model=_model(run, record, rows, folder, copied=to is not None),
        evaluation=_evaluation(run, record, rows, folder, copied=to is not None),
        training=_training(record),
        speed=_speed_rows(speed, str(rows["recipe"].iloc[0])) if speed else [],
        protocol_version=int(_first(rows, "protocol_version") or 0) or None,
    )
    for name, text in ((CARD, card.text()), (README, readme(card))):
        with atomic_write(folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
    return card


def environment_of(hardware: str, values: dict[str, Any] | None = None) -> CardEnvironment:
    """Return what predictions depend on besides weights and images.

    Args:
        hardware: of the device, as in result tables.
        values: of a run's environment.json; None: of this process.
    """
    values = environment() if values is None else values
    return CardEnvironment(
        hardware,
        str(values.get("python", "")),
        dict(values.get("packages", {})),
        str(values.get("commit", "")),
    )


def training_of(run: Path) -> CardTraining | None:
    """Return how the weights in a training's folder were made; None: it does not say."""
    if not (run / "environment.json").is_file():
        return None
    values = read_json(run / "environment.json", "a run's environment")
    facts = checkpoint_facts(run / "checkpoints" / "last.safetensors")
    threads = values.get("cpu_threads", 0)
    cpu = f"{values.get('cpu', '')}, {threads} thread{'' if threads == 1 else 's'}"
    return CardTraining(
        command_of(values.get("command", [])),
        str(values.get("commit", "")),
        facts.get("seed"),
        ", ".join(values.get("gpus", [])) or cpu,
        str(values.get("time", ""))[:10],
        str(facts.get("dataset", "")),
    )


def command_of(arguments: Sequence[str]) -> str:
    """Return a recorded command line without the folder that its run was written to."""
    words = ["posebench", *arguments[1:]]
    if "--runs" in words:
        at = words.index("--runs")
        del words[at : at + 2]
    return shlex.join(words)


def _model(
    run: Path, record: EvaluationRecord | None, rows: pd.DataFrame, folder: Path, *, copied: bool
) -> CardModel:
    name = str(rows["recipe"].iloc[0])
    path = Path(record.weights) if record and record.weights else None
    weights = None
    if path is not None:
        digest = _first(rows, "weights_sha256")
        if path.is_file():
            digest = digest or weights_hash(path)
            if weights_hash(path) != digest:
                raise DataError(
                    f"{path} has changed since {run} was evaluated: evaluate the model again, and "
                    "write the card of that run."
                )
            # Published weights have a licence and a source: everybody gets them there.
            if copied and record and not record.published:
                path = _copied_weights(path, folder / f"{name}{path.suffix}")
        weights = CardFile(_relative(path, folder), digest)
    recipe = read_json(run / "recipe.json", "a recipe") if (run / "recipe.json").is_file() else None
    kind = record.kind if record else "oracle" if _first(rows, "tta") == "oracle" else "model"
    return CardModel(
        name,
        kind if recipe or kind == "predictor" else "file",
        method=_first(rows, "method"),
        weights=weights,
        published=record.published if record else "",
        licence=record.licence if record else "",
        recipe_hash=_first(rows, "recipe_hash"),
        recipe=recipe,
    )


def _copied_weights(path: Path, to: Path) -> Path:
    """Copy a weights file, with the one beside it in which OpenVINO's format keeps its numbers."""
    beside = path.with_suffix(".bin")
    if path.suffix == SUFFIXES["openvino"] and beside.is_file():
        _copy(beside, to.with_suffix(".bin"))
    return _copy(path, to)


def _relevant(environment: CardEnvironment, backend: str) -> CardEnvironment:
    """Return an environment without the runtimes that computed nothing."""
    others = set(EXPORTED) - {backend}
    packages = {name: own for name, own in environment.packages.items() if name not in others}
    return replace(environment, packages=packages)


def _evaluation(
    run: Path, record: EvaluationRecord | None, rows: pd.DataFrame, folder: Path, *, copied: bool
) -> CardEvaluation:
    values = read_json(run / "environment.json", "a run's environment")
    results = run / "predictions.json"
    file = None
    if results.is_file():
        own = _copy(results, folder / results.name) if copied else results
        file = CardFile(_relative(own, folder), file_sha256(own))
    metrics = read_json(run / "metrics.json", "the metrics of a run")
    places = ("data_root", "annotations", "image_folder")
    common: dict[str, Any] = {
        "metrics": metrics,
        "intervals": _intervals(rows),
        "seeds": seeds_of(_first(rows, "seeds")),
        "results": file,
        "data_hash": _first(rows, "data_hash"),
        "tta": _first(rows, "tta"),
        "backend": _first(rows, "backend"),
        "date": _first(rows, "date"),
        "environment": _relevant(
            environment_of(_first(rows, "hardware"), values), _first(rows, "backend")
        ),
    }
    if record is None:  # of an earlier version
        split = _first(rows, "split").partition("[")[0]
        return CardEvaluation(_first(rows, "dataset"), split, 0, **common)
    seen: dict[str, Any] = {
        name: _relative(Path(getattr(record, name)), folder)
        for name in places
        if getattr(record, name)
    }
    reference = record.dataset
    if is_path(reference):
        reference = _relative(Path(reference), folder)
        common["dataset_name"] = _first(rows, "dataset")
    return CardEvaluation(
        reference,
        record.split,
        record.images,
        **common,
        precision=record.precision,
        batch_size=record.batch_size,
        limit=record.limit,
        unreadable=record.unreadable,
        seconds=record.seconds,
        category=record.category,
        skeleton=record.skeleton,
        exif=record.exif,
        **seen,
    )


def _training(record: EvaluationRecord | None) -> CardTraining | None:
    if record is None or not record.weights or record.published:
        return None
    path = Path(record.weights)
    if path.parent == FOLDER:
        return read_card(path.stem).training
    found = training_of(path.parents[1]) if path.parent.name == "checkpoints" else None
    facts = checkpoint_facts(path)
    dataset = str(facts.get("dataset", ""))
    return found or CardTraining(seed=record.training_seed, dataset=dataset)


def _intervals(rows: pd.DataFrame) -> dict[str, tuple[float, float]]:
    if not {"low", "high"} <= set(rows):
        return {}
    return {
        row["metric"]: (float(row["low"]) / 100, float(row["high"]) / 100)
        for _, row in rows.iterrows()
        if row["low"] and row["high"]
    }


def seeds_of(text: str) -> dict[str, int]:
    """Return seeds by what they seed, from the column of rows: `training 0, images 1`."""
    return {name: int(seed) for name, seed in re.findall(r"(\w+) (-?\d+)", text)}


def _speed_rows(run: Path, recipe: str) -> list[dict[str, Any]]:
    path = run / "results.csv"
    if not path.is_file():
        raise DataError(
            f"Expected the run folder of `posebench speed` at {run}, but it has no results.csv: "
            "time the model first, or leave out --speed."
        )
    rows = pd.read_csv(path)
    if not {"recipe", "protocol", "metric", "value"} <= set(rows):
        raise DataError(
            f"{path} holds no rows of `posebench speed`: name the folder of such a run."
        )
    own = rows[(rows["recipe"] == recipe) & rows["value"].notna()]
    if not len(own):
        names = ", ".join(dict.fromkeys(map(str, rows["recipe"])))
        raise DataError(f"{path} has times of {names}, but none of {recipe}: time it first.")
    return [
        {name: _plain(row[name]) for name in _SPEED if name in row and not pd.isna(row[name])}
        for _, row in own.iterrows()
    ]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value == math.floor(value) else value


def _first(rows: pd.DataFrame, column: str) -> str:
    """Return a column's value in the first row; rows of earlier versions lack some columns."""
    return str(rows[column].iloc[0]) if column in rows else ""


def _relative(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder."""
    return os.path.relpath(path.absolute(), folder.absolute())


def _copy(path: Path, to: Path) -> Path:
    if path.absolute() != to.absolute():
        with atomic_write(to) as beside:
            shutil.copyfile(path, beside)
    return to
