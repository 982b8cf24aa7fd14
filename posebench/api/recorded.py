"""An evaluation as it is recorded: its interval, its rows, its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.api.run import Run
from posebench.recipe import Precision, Recipe

if TYPE_CHECKING:
    import torch

    from posebench.card import Kind
    from posebench.data import PoseDataset
    from posebench.engine import Checkpoint, Evaluation

Place = str | Path | None


@dataclass(frozen=True)
class HowRead:
    """How the data of an evaluation were read, as the arguments of `evaluate`."""

    data_root: Place
    annotations: Place
    images: Place
    category: str | Sequence[str | int]
    skeleton: str | None
    exif: str
    limit: int | None
    batch_size: int


def recorded(
    evaluation: Evaluation,
    data: PoseDataset,
    recipe: Recipe | None,
    checkpoint: Checkpoint | None,
    *,
    kind: Kind,
    name: str,
    device: torch.device | None,
    precision: Precision,
    how: HowRead,
    folder: Path | None,
) -> Run:
    """Return the outcome of an evaluation, and write it to its run folder.

    Args:
        evaluation: its metrics and predictions.
        data: on which it was made.
        recipe: None: of a predictor or a result file.
        checkpoint: the weights; None: there were none.
        kind: of what was evaluated.
        name: of the rows, where there is no recipe.
        device: of the weights.
        precision: likewise.
        how: the data were read.
        folder: of the run; None: nothing is written.
    """
    from posebench import engine
    from posebench.bench.intervals import interval_of, limits_of
    from posebench.distributed import rank

    interval = interval_of(evaluation, data) if rank() == 0 else None
    facts = checkpoint.facts if checkpoint else {}
    seed = engine.training_seed(checkpoint.weights_file, facts) if checkpoint else None
    rows = engine.write_evaluation(
        folder, evaluation, recipe=recipe, dataset=data,
        tta="oracle" if kind == "oracle" else recipe.inference.label if recipe else "",
        device=device, precision=precision if checkpoint else "",
        limit=facts.get("limit", 0), name=name,
        provenance=engine.provenance_of(
            recipe=recipe, dataset=data, weights=checkpoint.weights_file if checkpoint else None,
            seeds={"training": seed, "bootstrap": interval.seed if interval else None},
        ),
        intervals=limits_of(interval),
        backend=engine.backend_of(checkpoint) if checkpoint else "",
    )  # fmt: skip
    if folder is not None and rank() == 0:
        _write_record(folder, evaluation, data, checkpoint, kind, seed, precision, how)
    return Run(evaluation, data, recipe, rows, folder, interval)


def _write_record(
    folder: Path,
    evaluation: Evaluation,
    data: PoseDataset,
    checkpoint: Checkpoint | None,
    kind: Kind,
    seed: int | None,
    precision: Precision,
    how: HowRead,
) -> None:
    """Write what a card needs to repeat the evaluation."""
    from posebench.engine.record import EvaluationRecord, root_of_data
    from posebench.exporting import is_exported

    facts = checkpoint.facts if checkpoint else {}
    weights = checkpoint.weights_file if checkpoint else None
    split, shortened, _ = data.split.partition("[")
    skeleton = how.skeleton or ""
    EvaluationRecord(
        kind,
        data.reference,
        split,
        len(data),
        weights=_absolute(weights),
        # An exported file is not the one that was published.
        published="" if weights and is_exported(weights) else facts.get("published", ""),
        licence=facts.get("licence", ""),
        training_seed=seed,
        precision=precision if checkpoint else "",
        batch_size=how.batch_size,
        limit=len(data) if shortened and how.limit is None else how.limit,
        unreadable=len(evaluation.unreadable),
        seconds=round(evaluation.seconds, 2),
        data_root=root_of_data(data.reference, Path(how.data_root) if how.data_root else None),
        annotations=_absolute(how.annotations),
        image_folder=_absolute(how.images),
        category=[how.category] if isinstance(how.category, str) else list(how.category),
        skeleton=_absolute(skeleton) if skeleton and Path(skeleton).exists() else skeleton,
        exif=how.exif,
    ).write(folder)


def _absolute(path: Place) -> str:
    return "" if path is None else str(Path(path).absolute())
