"""The list of all studies with what they cost."""

from __future__ import annotations

from typing import Any

from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.experiments import resolve
from posebench.models import STUDIES
from posebench.studies import Study


def list_studies() -> list[dict[str, Any]]:
    """Return one row per study, in the order of their entries in docs/ablations.md."""
    ordered = sorted(STUDIES.values(), key=lambda study: (study.entry[0], int(study.entry[1:])))
    return [_row(study) for study in ordered]


def _row(study: Study) -> dict[str, Any]:
    row: dict[str, Any] = {
        "entry": study.entry,
        "study": study.name,
        "method": study.method,
        "table": study.table,
        "factor": study.factor,
        "dataset": study.dataset,
        "variants": len(study.variants),
        "names": [variant.name for variant in study.variants],
        "trainings": 0,
        "epochs": 0,
        "cost": "",
        "command": study.command,
    }
    if study.variants:
        experiments = resolve(StudyConfig(study.name, study.dataset, study.base))
        trainings = {one.training.key: one.training for one in experiments if one.training}
        epochs = [training.recipe.epochs for training in trainings.values()]
        row["trainings"], row["epochs"] = len(trainings), sum(epochs)
        row["cost"] = _cost(epochs)
    return row


def _cost(epochs: list[int]) -> str:
    """Return the cost of trainings of some numbers of epochs in words."""
    if not epochs:
        return "no training"
    shortest, longest = min(epochs), max(epochs)
    length = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return f"{len(epochs)} trainings of {length} epochs"
