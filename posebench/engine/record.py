"""How an evaluation was made, in its run folder: what a card needs to repeat it.

It lies there as `evaluation.json`. A training's last evaluation is described by its request.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from posebench.card import Kind
from posebench.data import data_root as usual_root
from posebench.data import find_layout
from posebench.engine.request import find_request
from posebench.engine.runs import checkpoint_facts, evaluated_weights, has_checkpoint
from posebench.errors import DataError
from posebench.files import read_json, write_json

_FILE = "evaluation.json"


@dataclass(frozen=True)
class EvaluationRecord:
    """What was evaluated on which data, and how; paths are absolute, empty where there is none."""

    kind: Kind
    dataset: str  # as for `--dataset`
    split: str
    images: int
    weights: str = ""
    published: str = ""  # name of published weights
    licence: str = ""
    training_seed: int | None = None
    precision: str = ""
    batch_size: int = 8
    limit: int | None = None
    unreadable: int = 0
    seconds: float | None = None
    data_root: str = ""
    annotations: str = ""
    image_folder: str = ""
    category: list[str | int] = field(default_factory=list)
    skeleton: str = ""
    exif: str = "stored"

    def write(self, run: Path) -> None:
        """Write it to a run folder."""
        write_json(run / _FILE, asdict(self))


def find_record(run: Path) -> EvaluationRecord | None:
    """Return how the evaluation in a run folder was made; None: earlier versions did not say.

    Raises:
        DataError: the record is damaged.
        ModelError: the folder of a training is damaged.
    """
    path = run / _FILE
    if path.is_file():
        try:
            return msgspec.convert(read_json(path, "the record of an evaluation"), EvaluationRecord)
        except msgspec.ValidationError as error:
            raise DataError(
                f"Expected the record of an evaluation at {path}, but {error}: evaluate again."
            ) from None
    return _of_training(run) if has_checkpoint(run) else None


def root_of_data(dataset: str, data_root: Path | None) -> str:
    """Return the absolute folder of the datasets' folders, where a dataset lies in one."""
    layout = find_layout(dataset)
    if layout.tree and (data_root or layout.reference == layout.name):
        return str(usual_root(data_root).absolute())
    return ""


def _of_training(run: Path) -> EvaluationRecord | None:
    request = find_request(run)
    if request is None:
        return None
    weights = evaluated_weights(run)
    evaluated = request.data.get("evaluated", {})
    return EvaluationRecord(
        "model",
        request.dataset,
        request.eval_split,
        evaluated.get("images", 0),
        weights=str(weights.absolute()) if weights else "",
        licence=checkpoint_facts(weights).get("licence", "") if weights else "",
        training_seed=request.seed,
        precision=request.precision,
        limit=request.limit or None,
        data_root=request.data_root or "",
        annotations=request.eval_annotations or "",
        image_folder=request.image_folder or "",
        category=request.category,
        skeleton=request.skeleton or "",
        exif=request.exif,
    )
