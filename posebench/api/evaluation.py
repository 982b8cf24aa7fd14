"""Score a model, a predictor, a result file, or a recipe's ideal outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.api.datasets import first_images, open_chosen
from posebench.api.models import eval_precision
from posebench.api.recorded import HowRead, recorded
from posebench.api.run import Run
from posebench.data import choose_files, find_layout, is_described
from posebench.errors import UsageError
from posebench.recipe import Settings, with_inference, with_settings

if TYPE_CHECKING:
    from posebench.card import Kind
    from posebench.data import PoseDataset
    from posebench.engine import Checkpoint, Model, Predictor

# The dataset on which ideal outputs are scored if none is named.
_ORACLE_DATASET = "coco"

Progress = Callable[[int, int], None]  # (number of images done, number of all images)


def evaluate(
    model: str | Path | Model | Predictor | None = None,
    dataset: str | PoseDataset | None = None,
    split: str | None = None,
    *,
    predictions: str | Path | None = None,
    name: str | None = None,
    oracle: bool = False,
    data_root: str | Path | None = None,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    category: str | Sequence[str | int] = (),
    skeleton: str | None = None,
    exif: str = "stored",
    flip: bool | None = None,
    scales: Sequence[float] | None = None,
    settings: Settings | None = None,
    device: str = "auto",
    precision: str = "fp32",
    backend: str = "torch",
    compile: bool = False,
    batch_size: int = 8,
    workers: int | None = None,
    limit: int | None = None,
    strict: bool = False,
    runs: str | Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Run:
    """Score a model, a result file, or a recipe's ideal outputs on a dataset.

        posebench.evaluate("runs/train/...", "coco").metrics["AP"]
        posebench.evaluate(predictions="results.json", dataset="coco")
        posebench.evaluate("cid", "crowdpose", oracle=True)

    Args:
        model: what `load_model` takes or returns, or a predictor or its name; with `oracle` any
            recipe or method.
        dataset: a name, or what `open_dataset` returns; None: the one the model was trained on.
        split: None: the usual one.
        predictions: a result file in COCO's format, to score in place of a model.
        name: what the rows of a result file have as their `recipe`; None: the file's name.
        oracle: score what a perfect network would output: the upper bound of the method.
        data_root: the folder that contains the dataset folders; None: `$POSEBENCH_DATA`, else
            `./data`.
        annotations: a file to read in place of the split's own.
        images: the folder of the images; None: where the dataset has them, or beside the file.
        category: names or ids of the categories to read, where a file has several.
        skeleton: the keypoints, where the file does not name them: the name of a built-in set, or
            the path of a TOML file.
        exif: `upright` turns images as their EXIF orientation says; `stored` ignores it, as the
            published loaders do.
        flip: also predict on the mirrored image and merge both; None: as the recipe does.
        scales: factors on the recipe's input size, whose predictions are merged likewise; None: as
            the recipe does.
        settings: recipe fields, `{"nms_threshold": 0.5}` or `["nms_threshold=0.5"]`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; of a loaded model, its own.
        precision: `fp32`, `tf32`, `bf16` or `auto`, which is fp32 here; of a loaded model, its
            own.
        backend: what computes the network, as for `load_model`; of a loaded model, its own.
        compile: let torch.compile compute the network, for each image size.
        batch_size: images per forward pass, at most; only images of one size share a pass.
        workers: processes that load images; None: none on a CPU, up to 8 beside a GPU.
        limit: evaluate on this many images at most, the first ones.
        strict: stop at the first image that cannot be read.
        runs: the folder in which the run folder is made; None: nothing is written.
        progress: is called with the number of images done and the number of all images.

    Raises:
        UsageError: a name or a value does not exist or does not fit.
        DataError: images, annotations or the result file are missing or wrong.
        UnsupportedError: the backend is not installed, or lacks an operator.
        ModelError: there is no such model, or it predicts other keypoints.
    """
    _check_target(model, predictions, oracle=oracle, settings=settings, dataset=dataset)
    _check_options(predictions, name, changed=not (flip is None and scales is None), limit=limit)
    _check_backend(backend, model, scored=not (oracle or predictions))
    chosen_precision = eval_precision(precision)
    used = dataset if isinstance(dataset, str) else dataset.reference if dataset else ""
    choice = choose_files(images, category, skeleton)
    predictor = _predictor(
        model, dataset, changed=bool(oracle or settings or scales) or flip is not None
    )
    checkpoint = None if oracle or model is None or predictor else _checkpoint(model)
    used = used or (checkpoint.trained_on if checkpoint else _ORACLE_DATASET)
    opened = None if dataset is None or isinstance(dataset, str) else dataset
    dataset_name = opened.name if opened else find_layout(used).name
    recipe = checkpoint.recipe if checkpoint else None
    if oracle:
        from posebench.engine import default_recipe

        recipe = default_recipe(str(model), used, choice)
    if recipe:
        recipe = with_settings(recipe.on(dataset_name), settings)
        recipe = with_inference(recipe, flip=flip, scales=scales)
    from posebench import engine

    if opened is None:
        spare = recipe.skeleton if recipe else None
        data = open_chosen(used, split, choice, spare, data_root, annotations, exif, limit)
    else:
        data = opened if limit is None else first_images(opened, limit)
    if recipe:
        source = str(checkpoint.path) if checkpoint else ""
        recipe = engine.fit_recipe(recipe, data, source, adapt=oracle and is_described(data))
    place = None
    if recipe and checkpoint:
        checkpoint, place = engine.placed(
            replace(checkpoint, recipe=recipe), device, chosen_precision, backend
        )
    label = recipe.name if recipe else name or Path(str(predictions)).stem
    label = predictor.name if predictor else label
    # Made first: a folder that cannot be written should not cost an evaluation.
    folder = None if runs is None else engine.new_run(Path(runs), "eval", label, dataset_name)
    if recipe and checkpoint and place:
        evaluation = engine.evaluate(
            checkpoint.model().to(place),
            data,
            recipe.inference,
            batch_size=batch_size,
            workers=engine.default_workers(place) if workers is None else workers,
            precision=chosen_precision,
            compiler="inductor" if compile else "",
            strict=strict,
            progress=progress,
        )
    elif recipe:
        evaluation = engine.evaluate_ideal(recipe, data, progress=progress)
    elif predictor:
        evaluation = engine.evaluate_predictor(
            predictor, data, batch_size=batch_size, workers=workers or 0, strict=strict,
            progress=progress,
        )  # fmt: skip
    else:
        evaluation = engine.evaluate_file(Path(str(predictions)), data)
    kind: Kind = "oracle" if oracle else "model" if checkpoint else "file"
    how = HowRead(data_root, annotations, images, category, skeleton, exif, limit, batch_size)
    return recorded(
        evaluation, data, recipe, checkpoint, kind="predictor" if predictor else kind, name=label,
        device=place, precision=chosen_precision, how=how, folder=folder,
    )  # fmt: skip


def _check_target(
    model: object, predictions: object, *, oracle: bool, settings: object, dataset: object
) -> None:
    """Refuse to score nothing or two things, and options of models for a result file."""
    if (predictions is None) == (model is None):
        raise UsageError(
            "eval expects one thing to score: a run, a checkpoint or a recipe, or a file of "
            "predictions."
        )
    if isinstance(dataset, str):
        find_layout(dataset)  # so that a misspelt dataset is reported first
    if predictions is None:
        return
    if oracle:
        raise UsageError("--oracle scores a recipe's ideal outputs, and a result file has none.")
    if settings:
        raise UsageError("--set changes a recipe, and a result file has none.")
    if dataset is None:
        raise UsageError("A result file does not name its dataset: name it with --dataset.")


def _check_options(
    predictions: object, name: str | None, *, changed: bool, limit: int | None
) -> None:
    """Refuse a name for a model, and for a result file what changes how a model predicts."""
    if predictions is None:
        if name is not None:
            raise UsageError("--name names a result file: a model has the name of its recipe.")
        return
    if limit is not None:
        raise UsageError(
            "--limit evaluates a model on fewer images, and a result file is scored whole."
        )
    if changed:
        raise UsageError(
            "--flip and --scales change how a model predicts, and a result file holds its "
            "predictions already."
        )


def _check_backend(backend: str, model: object, *, scored: bool) -> None:
    """Refuse a backend that there is not, or is not here, or where no network computes."""
    from posebench.engine.backend_names import check_backend, check_installed

    check_backend(backend)
    if backend != "torch" and not scored:
        raise UsageError(
            "--backend says what computes a network: leave it out with --oracle and --predictions."
        )
    check_installed(backend, model)


def _predictor(model: object, dataset: object, *, changed: bool) -> Predictor | None:
    """Return the predictor that is to be scored; None: it is something else."""
    from posebench.engine import find_predictor

    predictor = find_predictor(model)
    if predictor is not None and changed:
        raise UsageError(
            f"{predictor.name} is a predictor, of which posebench sees the poses alone: leave out "
            "--oracle, --set, --flip and --scales."
        )
    if predictor is not None and dataset is None:
        raise UsageError(f"{predictor.name} does not name its dataset: name it with --dataset.")
    return predictor


def _checkpoint(model: str | Path | Model | Predictor) -> Checkpoint:
    from posebench import engine

    if isinstance(model, str | Path):
        return engine.find_model(str(model))
    assert isinstance(model, engine.Model)  # no predictor
    return replace(model.checkpoint, recipe=model.recipe)
