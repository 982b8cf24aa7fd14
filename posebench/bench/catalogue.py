"""The list of all studies: where they are printed, and what they cost or who answers them."""

from __future__ import annotations

import pandas as pd

from posebench.bench.ablation import Setup, resolve
from posebench.models import STUDIES
from posebench.studies import Study


def catalogue() -> pd.DataFrame:
    """Return a row for each study, in the order of the papers' entries."""
    ordered = sorted(STUDIES.values(), key=lambda study: (study.entry[0], int(study.entry[1:])))
    return pd.DataFrame(_row(study) for study in ordered)


def _row(study: Study) -> dict[str, object]:
    row: dict[str, object] = {
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
        lines = resolve(Setup(study.name, study.dataset, study.base))
        trainings = {line.training.key: line.training for line in lines if line.training}
        epochs = [training.recipe.epochs for training in trainings.values()]
        lengths = sorted(set(epochs))
        row["trainings"], row["epochs"] = len(trainings), sum(epochs)
        named = " to ".join(str(length) for length in (lengths[:1] + lengths[1:][-1:]))
        row["cost"] = (
            f"{len(trainings)} trainings of {named} epochs" if trainings else "no training"
        )
    return row
