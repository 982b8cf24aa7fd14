"""What is compared or analysed: runs, models and result files, on the same images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.api.datasets import first_images, open_dataset
from posebench.data import find_layout
from posebench.errors import DataError, Notice, UsageError
from posebench.files import file_sha256
from posebench.skeleton import SKELETONS, Skeleton, same_keypoints

if TYPE_CHECKING:
    from posebench.api.run import Run
    from posebench.data import PoseDataset
    from posebench.engine import Model, Predictor
    from posebench.metrics.matching import Detections

Progress = Callable[[str, int, int], None]  # (name of the model, images done, all images)

_PREDICTIONS = "predictions.json"


@dataclass(frozen=True)
class DataOptions:
    """Which images the entrants are scored on, as for `open_dataset`."""

    dataset: str | PoseDataset | None = None  # None: the one that the entrants agree on
    split: str | None = None
    data_root: str | Path | None = None
    annotations: str | Path | None = None
    images: str | Path | None = None
    category: str | Sequence[str | int] = ()
    skeleton: str | Skeleton | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Entrant:
    """The predictions of one model on the images of a dataset."""

    name: str  # no two of a comparison are equal
    detections: Detections
    facts: Mapping[str, str] = field(default_factory=dict)  # how they were made, in words
    note: str = ""  # why the AP that the tool prints itself may be another one
    row: Mapping[str, str] = field(default_factory=dict)  # a tidy row of its evaluation


def open_entrants(
    given: Sequence[str | Path | Run | Model | Predictor],
    options: DataOptions,
    *,
    names: Sequence[str] | None = None,
    runs: str | Path | None = None,
    progress: Progress = lambda name, done, total: None,
    **how: Any,
) -> tuple[PoseDataset, list[Entrant]]:
    """Return a dataset and the predictions on it; models predict first.

    Args:
        given: result files, run folders, whose predictions are taken, what `load_model` takes or
            returns, or what `evaluate` returns.
        options: the dataset.
        names: what they are called; None: by their files, folders and recipes.
        runs: the folder for the predictions of models; None: they are not written.
        progress: is called while a model predicts.
        **how: how models predict, as for `evaluate`.

    Raises:
        UsageError: the dataset is not named and cannot be told, or a name does not exist.
        DataError: a file is missing or wrong.
        ModelError: there is no such model, or it predicts other keypoints.
    """
    if names is not None and len(names) != len(given):
        raise UsageError(
            f"Expected a name for each of {len(given)} models, but found {len(names)}."
        )
    called = _called(given) if names is None else list(names)
    if len(set(called)) < len(called):
        raise UsageError(f"No two names may be equal, but found {', '.join(called)}.")
    dataset = _open(given, options)
    truth = dataset.ground_truth()
    if dataset.protocol.metric is not None:
        raise UsageError(
            f"Intervals, tests and error classes are of AP, but {dataset.name} has a metric of its "
            "own: compare its models by `posebench eval`."
        )
    if not truth.annotated:
        raise DataError(
            f"The images of {dataset.name} {dataset.split} are not annotated, so nothing can be "
            f"compared here. {dataset.submission}".strip()
        )
    return dataset, [
        _entrant(one, name, dataset, runs, progress, how)
        for one, name in zip(given, called, strict=True)
    ]


# ----------------------------------------------------------------------------------- the dataset


def _open(given: Sequence[object], options: DataOptions) -> PoseDataset:
    if options.dataset is not None and not isinstance(options.dataset, str):
        return (
            options.dataset
            if options.limit is None
            else first_images(options.dataset, options.limit)
        )
    name, split, limit = options.dataset, options.split, options.limit
    if name is None and options.annotations is not None:
        name = _like(options)
    elif name is None and (opened := _opened(given)) is not None:
        return opened
    if name is None:
        name, recorded, recorded_limit = _agreed(given)
        split = split or recorded
        limit = limit or recorded_limit
    return open_dataset(
        name, split, data_root=options.data_root, annotations=options.annotations,
        images=options.images, category=options.category, skeleton=options.skeleton, limit=limit,
    )  # fmt: skip


def _like(options: DataOptions) -> str:
    """Return the dataset whose rules suit an annotation file: by its keypoints, else its own."""
    path = str(options.annotations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # what is said of it, is said when it is opened
        own = open_dataset(
            path, images=options.images, category=options.category, skeleton=options.skeleton
        )
    truth = own.ground_truth()
    if same_keypoints(truth.skeleton, SKELETONS["coco"]):
        return "coco"
    if same_keypoints(truth.skeleton, SKELETONS["crowdpose"]):
        return "crowdpose"
    return path


def _agreed(given: Sequence[object]) -> tuple[str, str | None, int | None]:
    """Return the dataset, split and limit that all entrants name which name any.

    Raises:
        UsageError: none does, or they name several.
    """
    named = {place for one in given if (place := _recorded(one)) is not None}
    if not named:
        raise UsageError(
            "Which images are these predictions of? Name the annotations with --annotations, or "
            "the dataset with --dataset."
        )
    if len(named) > 1:
        listed = " and ".join(sorted(" ".join(filter(None, place)) for place in named))
        raise UsageError(
            f"These were evaluated on different images ({listed}): compare predictions on the "
            "same ones, or name a --dataset on which the models shall predict."
        )
    [(dataset, split)] = named
    split, _, limited = split.partition("[:")
    return dataset, split or None, int(limited.removesuffix("]")) if limited else None


def _opened(given: Sequence[object]) -> PoseDataset | None:
    """Return the dataset of evaluations in memory; None: others are given, or they differ."""
    from posebench.api.run import Run

    datasets = [one.dataset for one in given if isinstance(one, Run)]
    if len(datasets) < len(given) or len({one.contents() for one in datasets}) > 1:
        return None
    return datasets[0]


def _recorded(one: object) -> tuple[str, str] | None:
    """Return the dataset and split that an entrant names; None: it names none."""
    from posebench.api.run import Run

    if isinstance(one, Run):
        return one.dataset.reference, one.dataset.split
    if isinstance(one, str | Path):
        if _is_run(one):
            from posebench.engine.runs import evaluated_on

            return evaluated_on(Path(one))
        if _is_file(one):
            return None
        from posebench.engine import find_model, find_predictor

        if find_predictor(one) is not None:
            return None
        return _usual(find_model(str(one)).trained_on)
    trained_on = getattr(getattr(one, "checkpoint", None), "trained_on", "")
    return _usual(trained_on)


def _usual(dataset: str) -> tuple[str, str] | None:
    return (dataset, find_layout(dataset).eval_split) if dataset else None


# ------------------------------------------------------------------------------------- entrants


def _is_run(one: str | Path) -> bool:
    return (Path(one) / _PREDICTIONS).is_file()


def _is_file(one: str | Path) -> bool:
    return Path(one).suffix == ".json" or (
        Path(one).is_file() and Path(one).suffix not in (".safetensors", ".pth", ".pt", ".tar")
    )


def _entrant(
    one: Any, name: str, dataset: PoseDataset, runs: str | Path | None, progress: Progress,
    how: Mapping[str, Any],
) -> Entrant:  # fmt: skip
    from posebench.api.run import Run
    from posebench.engine.runs import first_row
    from posebench.metrics.results import parse_results, read_results

    truth = dataset.ground_truth()
    if isinstance(one, Run):
        return Entrant(name, parse_results(one.evaluation.results, truth), row=_row(one))
    if isinstance(one, str | Path):
        path = Path(one)
        if _is_run(path) and _of(path, dataset):
            file = path / _PREDICTIONS
            facts = {"run": str(path), "SHA-256": file_sha256(file)}
            return Entrant(name, read_results(file, truth), facts, row=first_row(path))
        if _is_file(path):
            from posebench.metrics.writers import writer_of

            detections = read_results(path, truth)
            writer = writer_of(path)
            facts = {"file": str(path), "SHA-256": file_sha256(path)}
            if writer is None:
                return Entrant(name, detections, facts)
            note = f"{path} looks written by {writer.name}: {writer.own_ap}."
            return Entrant(name, detections, facts | {"written by": writer.name}, note)
    from posebench.api.evaluation import evaluate

    run = evaluate(
        one, dataset, runs=runs, progress=lambda done, total: progress(name, done, total), **how
    )
    facts = {"recipe": run.recipe.name if run.recipe else str(one)}
    if run.folder is not None:
        facts["predictions"] = str(run.folder)
    return Entrant(name, parse_results(run.evaluation.results, truth), facts, row=_row(run))


def _row(run: Run) -> dict[str, str]:
    return {str(name): str(value) for name, value in run.rows.iloc[0].items()}


def _of(run: Path, dataset: PoseDataset) -> bool:
    """Return whether a run's predictions are of these images."""
    from posebench.engine.runs import evaluated_on

    return evaluated_on(run) in (None, (dataset.name, dataset.split))


def _called(given: Sequence[object]) -> list[str]:
    """Return the ends of their paths, with as many folders as tell them apart."""
    paths = [_place(one) for one in given]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({number})" for number, path in enumerate(paths, start=1)]


def _place(one: object) -> Path:
    from posebench.api.run import Run

    if isinstance(one, Run):
        one = one.folder or (one.recipe.name if one.recipe else "predictions")
    if isinstance(one, str | Path):
        path = Path(one)
        return path.with_suffix("") if path.suffix == ".json" else path
    name = getattr(one, "name", None) or one.recipe.name  # type: ignore[attr-defined]
    return Path(str(name))
