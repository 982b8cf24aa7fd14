"""What is compared or analysed: runs, models and result files, on the same images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
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
    exif: str = "stored"


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
    if not truth.people.any():
        raise DataError(
            f"Nobody is annotated in the {len(dataset)} images of {dataset.name} {dataset.split}, "
            "so nothing can be compared or analysed here: choose another split or file."
        )
    return dataset, [
        _entrant(one, name, dataset, options, runs, progress, how)
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
    if options.dataset is None:
        if options.annotations is None and (opened := _opened(given)) is not None:
            return opened if options.limit is None else first_images(opened, options.limit)
        options = (
            _agreed(given, options)
            if options.annotations is None
            else replace(options, dataset=_like(options))
        )
    return open_dataset(
        str(options.dataset), options.split, data_root=options.data_root,
        annotations=options.annotations, images=options.images, category=options.category,
        skeleton=options.skeleton, exif=options.exif, limit=options.limit,
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


def _agreed(given: Sequence[object], options: DataOptions) -> DataOptions:
    """Return the images that runs are of, else those that models name; options given go before.

    Raises:
        UsageError: nothing names any, or they name several.
    """
    of_runs = [own for one in given if (own := _evaluated_on(one)) is not None]
    named = of_runs or [own for one in given if (own := _trained_on(one)) is not None]
    if not named:
        raise UsageError(
            "Which images are these predictions of? Name the annotations with --annotations, or "
            "the dataset with --dataset."
        )
    if len({_images(own) for own in named}) > 1:
        listed = " and ".join(sorted({_said(own) for own in named}))
        raise UsageError(
            f"These were evaluated on different images ({listed}): compare predictions on the "
            "same ones, or name a --dataset on which the models shall predict."
        )
    unset = DataOptions()
    chosen = {
        one.name: value
        for one in fields(options)
        if (value := getattr(options, one.name)) != getattr(unset, one.name)
    }
    return replace(named[0], **chosen)


def _opened(given: Sequence[object]) -> PoseDataset | None:
    """Return the dataset of evaluations in memory; None: others are given, or they differ."""
    from posebench.api.run import Run

    datasets = [one.dataset for one in given if isinstance(one, Run)]
    if len(datasets) < len(given) or len({one.contents() for one in datasets}) > 1:
        return None
    return datasets[0]


def _evaluated_on(one: object) -> DataOptions | None:
    """Return the images that a run's predictions are of; None: it does not say, or is no run."""
    from posebench.api.run import Run

    if isinstance(one, Run):
        return _split_of(one.dataset.reference, one.dataset.split)
    if not isinstance(one, str | Path) or not _is_run(one):
        return None
    from posebench.engine.record import find_record
    from posebench.engine.runs import first_row

    record = find_record(Path(one))
    if record is None:
        row = first_row(Path(one))
        return _split_of(row["dataset"], row["split"]) if {"dataset", "split"} <= set(row) else None
    return DataOptions(
        record.dataset,
        record.split,
        record.data_root or None,
        record.annotations or None,
        record.image_folder or None,
        tuple(record.category),
        record.skeleton or None,
        # A limit that left no image out is none.
        record.limit if record.images in (0, record.limit) else None,
        record.exif,
    )


def _split_of(dataset: str, split: str) -> DataOptions:
    """Return a dataset and its split, of which `val[:20]` are the first 20 images."""
    name, _, limited = split.partition("[:")
    return DataOptions(dataset, name, limit=int(limited.removesuffix("]")) if limited else None)


def _images(options: DataOptions) -> tuple[object, ...]:
    """Return what two runs on the same images have in common."""
    return tuple(
        getattr(options, name)
        for name in ("dataset", "split", "limit", "annotations", "category", "skeleton", "exif")
    )


def _said(options: DataOptions) -> str:
    split = f"{options.split}[:{options.limit}]" if options.limit else str(options.split)
    file = f" ({options.annotations})" if options.annotations else ""
    return f"{options.dataset} {split}{file}"


def _trained_on(one: object) -> DataOptions | None:
    """Return the images on which a model is usually evaluated; None: it does not say."""
    from posebench.api.run import Run

    if isinstance(one, Run):
        return None
    if isinstance(one, str | Path):
        if _is_file(one) or _is_run(one):
            return None
        from posebench.engine import find_model, find_predictor

        if find_predictor(one) is not None:
            return None
        dataset = find_model(str(one)).trained_on
    else:
        dataset = getattr(getattr(one, "checkpoint", None), "trained_on", "")
    return DataOptions(dataset, find_layout(dataset).eval_split) if dataset else None


# ------------------------------------------------------------------------------------- entrants


def _is_run(one: str | Path) -> bool:
    return (Path(one) / _PREDICTIONS).is_file()


def _is_file(one: str | Path) -> bool:
    return Path(one).suffix == ".json" or (
        Path(one).is_file() and Path(one).suffix not in (".safetensors", ".pth", ".pt", ".tar")
    )


def _entrant(
    one: Any, name: str, dataset: PoseDataset, options: DataOptions, runs: str | Path | None,
    progress: Progress, how: Mapping[str, Any],
) -> Entrant:  # fmt: skip
    from posebench.api.run import Run
    from posebench.engine.runs import first_row
    from posebench.metrics.results import parse_results, read_results

    truth = dataset.ground_truth()
    if isinstance(one, Run):
        return Entrant(name, parse_results(one.evaluation.results, truth), row=_row(one))
    if isinstance(one, str | Path):
        path = Path(one)
        if _is_run(path) and _is_of(path, dataset, options):
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


def _is_of(run: Path, dataset: PoseDataset, options: DataOptions) -> bool:
    """Return whether a run's predictions are of these images; otherwise its model can predict.

    Raises:
        UsageError: they are of other images, and the run has no model.
    """
    recorded = _evaluated_on(run)
    if recorded is None:
        return True
    split = f"{recorded.split}[:{recorded.limit}]" if recorded.limit else recorded.split
    if (recorded.dataset, split) == (dataset.reference, dataset.split):
        return True
    from posebench.engine.runs import has_checkpoint

    if has_checkpoint(run):
        return False
    if options.annotations is not None:  # whose images have to be those of the predictions
        return True
    raise UsageError(
        f"{run} has predictions of {_said(recorded)}, not of {dataset.reference} {dataset.split}: "
        "leave out --dataset, --split and --limit, or give the model that made them."
    )


def _called(given: Sequence[object]) -> list[str]:
    """Return the ends of their paths, with as many folders as tell them apart, else numbers."""
    paths = [_place(one) for one in given]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({number})" for number, path in enumerate(paths, start=1)]


def _place(one: object) -> Path:
    from posebench.api.run import Run

    if isinstance(one, Run):
        one = one.folder or (one.recipe.name if one.recipe else "predictions")
    if isinstance(one, str | Path):
        path = Path(one)
        return path.with_suffix("") if path.suffix == ".json" else path
    name = getattr(one, "name", None) or one.recipe.name  # type: ignore[attr-defined]
    return Path(str(name))
