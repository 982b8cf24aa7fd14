"""The public Python API: `import posebench`. The command line is written on top of it.

Every function takes names, as the command line does, or the objects that the others return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.data import FileChoice, choose_files, find_layout, is_described
from posebench.errors import UsageError, unknown_name
from posebench.models import RECIPES
from posebench.plugins import PLUGINS
from posebench.recipe import (
    ALL_EPOCHS,
    Recipe,
    Settings,
    check_precision,
    set_fields,
    with_inference,
    with_settings,
)

if TYPE_CHECKING:
    import pandas as pd

    from posebench.data import PoseDataset
    from posebench.engine import Checkpoint, Model, Predictor, TrainingRequest
    from posebench.engine.callbacks import Callback
    from posebench.engine.evaluation import Evaluation
    from posebench.recipe import Precision
    from posebench.skeleton import Skeleton

# The dataset on which ideal outputs are scored if none is named.
_ORACLE_DATASET = "coco"

Progress = Callable[[int, int], None]  # (number of images done, number of all images)


@dataclass(frozen=True)
class Run:
    """The outcome of a training or an evaluation."""

    evaluation: Evaluation
    dataset: PoseDataset  # the one it was evaluated on
    recipe: Recipe | None  # None: a result file was scored
    rows: pd.DataFrame  # tidy: a row for each metric
    folder: Path | None  # None: nothing was written

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics by name as fractions, the main one first; -1: no ground truth to detect."""
        return self.evaluation.metrics

    def load_model(self, *, device: str = "auto", precision: str = "fp32") -> Model:
        """Return the model that was trained, with its best weights.

        Raises:
            UsageError: nothing was trained.
        """
        if self.folder is None:
            raise UsageError("This run has written no checkpoint: it was an evaluation.")
        return load_model(self.folder, device=device, precision=precision)


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the recipes that match a shell pattern such as `cid*`."""
    return [name for name in RECIPES if fnmatch(name, pattern)]


def load_plugin(file: str | Path) -> None:
    """Add the methods, datasets, metrics and predictors of a Python file, as `--plugin` does.

    Raises:
        UsageError: it is missing, fails, or declares nothing.
    """
    PLUGINS.load_file(file)


def load_model(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    flip: bool | None = None,
    scales: Sequence[float] | None = None,
) -> Model:
    """Return a trained model; `model.predict(image)` returns the people of an image.

    Args:
        model: a run folder, a checkpoint, or a recipe whose weights can be downloaded.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is a GPU where there is one.
        precision: `fp32`, `bf16` or `auto`, which is fp32 for predictions.
        flip: also predict on the mirrored image and merge both; None: as the recipe does.
        scales: factors on the recipe's input size, whose predictions are merged likewise; None: as
            the recipe does.

    Raises:
        ModelError: there is no such model, or its file is damaged or of another version.
        UsageError: there is no such device or precision.
    """
    check_precision(precision)
    from posebench import engine

    checkpoint = engine.find_model(str(model))
    recipe = with_inference(checkpoint.recipe, flip=flip, scales=scales)
    return engine.Model.of(
        replace(checkpoint, recipe=recipe), device=device, precision=_eval_precision(precision)
    )


def open_dataset(
    name: str,
    split: str | None = None,
    *,
    data_root: str | Path | None = None,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    category: str | Sequence[str | int] = (),
    skeleton: str | Skeleton | None = None,
    exif: str = "stored",
    limit: int | None = None,
) -> PoseDataset:
    """Open one split of a dataset.

    Args:
        name: as `posebench data list` shows it, or the path of a dataset.toml, an annotation file
            or a folder.
        split: None: the one that models are usually evaluated on.
        data_root: the folder that contains the dataset folders; None: `$POSEBENCH_DATA`, else
            `./data`.
        annotations: a file to read in place of the split's own.
        images: the folder of the images; None: where the dataset has them, or beside the file.
        category: names or ids of the categories to read, where a file has several.
        skeleton: the keypoints, where the file does not name them: the name of a built-in set, the
            path of a TOML file, or a `Skeleton`.
        exif: `upright` turns images as their EXIF orientation says; `stored` ignores it, as the
            published loaders do.
        limit: take this many images at most, the first ones.

    Raises:
        UsageError: the dataset or the split does not exist, or the options do not fit it.
        DataError: its files are missing or wrong.
    """
    choice = choose_files(images, category, skeleton)
    return _open(name, split, choice, None, data_root, annotations, exif, limit)


def _open(
    name: str, split: str | None, choice: FileChoice | None, spare: Skeleton | None,
    data_root: str | Path | None, annotations: str | Path | None, exif: str, limit: int | None,
) -> PoseDataset:  # fmt: skip
    """Open a split; `spare` are a model's keypoints, where the dataset leaves its own open."""
    from posebench.data import open_dataset as open_split

    dataset = open_split(
        name,
        split or find_layout(name).eval_split,
        root=Path(data_root) if data_root else None,
        annotations=Path(annotations) if annotations else None,
        skeleton=spare,
        exif=exif,
        choice=choice,
    )
    return dataset if limit is None else _first_images(dataset, limit)


def _first_images(dataset: PoseDataset, limit: int) -> PoseDataset:
    from posebench.data.limited import FirstImages

    return FirstImages(dataset, limit)


def train(
    recipe: str | Recipe | None = None,
    dataset: str | None = None,
    *,
    split: str | None = None,
    eval_split: str | None = None,
    data_root: str | Path | None = None,
    annotations: str | Path | None = None,
    eval_annotations: str | Path | None = None,
    images: str | Path | None = None,
    category: str | Sequence[str | int] = (),
    skeleton: str | None = None,
    exif: str | None = None,
    settings: Settings | None = None,
    pretrained: bool = True,
    weights: str | Path | None = None,
    freeze: str | None = None,
    steps: int | None = None,
    resume: str | Path | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    workers: int | None = None,
    strict: bool | None = None,
    limit: int | None = None,
    runs: str | Path = "runs",
    callback: Callback | None = None,
    **fields: Any,
) -> Run:
    """Train a recipe and return the evaluation of its last epoch.

        run = posebench.train("cid_tiny", "synthetic", epochs=2)
        model = run.load_model()

        posebench.train(resume="runs/train/...")  # goes on where it was stopped

    Args:
        recipe: a recipe, or a method, which means its default recipe for the dataset.
        dataset: as `posebench data list` shows it; needed, like the recipe, without `resume`.
        split: the split to train on; None: the usual one.
        eval_split: the split to evaluate on; None: the usual one.
        data_root: the folder that contains the dataset folders; None: `$POSEBENCH_DATA`, else
            `./data`.
        annotations: a file to train on in place of the split's own.
        eval_annotations: a file to evaluate on in place of the split's own.
        images: the folder of the images; None: where the dataset has them, or beside the file.
        category: names or ids of the categories to read, where a file has several.
        skeleton: the keypoints, where the file does not name them: the name of a built-in set, or
            the path of a TOML file.
        exif: `upright` turns images as their EXIF orientation says; None: `stored`, which ignores
            it, as the published loaders do.
        settings: recipe fields, `{"augment.size": 384}` or `["augment.size=384"]`.
        pretrained: start the backbone from ImageNet weights where the recipe does.
        weights: start from the weights of a run folder, a checkpoint, or a recipe whose weights
            come with the package or can be downloaded, as far as they fit; heads are taken keypoint
            by keypoint, by name.
        freeze: `backbone`: it keeps its weights, and its batch norms their statistics.
        steps: the length in optimizer steps in place of epochs: whole epochs of about so many.
        resume: a run folder to continue. It knows the other arguments: those that are given too
            have to agree, except where the data lie and how they are computed with (`device`,
            `precision`, `workers`, `strict`), and the number of epochs: `epochs=20` trains a run on
            or to a later end, by the learning rate of a training of that length.
        seed: random seed for initial weights, image order and augmentation; None: 0.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; None: `auto`.
        precision: `fp32`, `bf16` (losses stay in fp32), or `auto`: bf16 where the hardware
            computes in it; None: `fp32`.
        workers: processes that load images; None: none on a CPU, up to 8 beside a GPU.
        limit: train and evaluate on this many images at most, the first ones of each split.
        strict: stop at the first image that cannot be read.
        runs: the folder in which the run folder is made.
        callback: is called at the start, and after every step and evaluation.
        **fields: recipe fields, `epochs=20`.

    Raises:
        UsageError: a name or a value does not exist or does not fit.
        DataError: images or annotations are missing or wrong.
        ModelError: the run cannot be resumed, pretrained weights cannot be downloaded, or
            `weights` do not fit.
        Interrupted: the user stopped it with Ctrl-C; `resume` continues it.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit is at least 1, not {limit}.")
    if weights is not None and resume is not None:
        raise UsageError(
            "--weights starts a new run and --resume continues one with its own weights: leave out "
            "one of them."
        )
    if dataset is not None:  # first, so that a misspelt dataset is reported first
        dataset = find_layout(dataset).reference
    from posebench import engine

    given = {
        "split": split, "eval_split": eval_split, "data_root": _text(data_root),
        "annotations": _text(annotations), "eval_annotations": _text(eval_annotations),
        "exif": exif, "seed": seed, "device": device, "precision": precision, "workers": workers,
        "strict": strict, "limit": limit, "weights": _text(weights),
        "image_folder": _text(images), "category": _names(category) or None, "skeleton": skeleton,
    }  # fmt: skip
    if resume is None:
        request, chosen = engine.new_training(recipe, dataset, given)
    else:
        request, chosen = engine.resumed_training(Path(resume), recipe, dataset, given)
    chosen = with_settings(with_settings(chosen, settings), fields)
    if not pretrained or weights is not None:
        chosen = replace(chosen, pretrained=False)
    if freeze is not None:
        chosen = _frozen(chosen, freeze, learned=bool(chosen.pretrained or weights or resume))
    check_precision(request.precision)
    start = None if weights is None else engine.find_model(str(weights))
    place = engine.pick_device(request.device)
    chosen_precision = engine.pick_precision(request.precision, place)
    request = replace(request, precision=chosen_precision)
    options = engine.TrainOptions(
        place,
        request.seed,
        engine.default_workers(place) if request.workers is None else request.workers,
        chosen_precision,
        strict=request.strict,
    )
    choice = request.choice()
    train_set, eval_set = (
        _open(
            request.dataset,
            own_split,
            choice,
            chosen.skeleton,
            request.data_root,
            own_annotations,
            request.exif,
            request.limit or None,
        )
        for own_split, own_annotations in (
            (request.split, request.annotations),
            (request.eval_split, request.eval_annotations),
        )
    )
    adapt = is_described(train_set) and resume is None
    chosen = engine.fit_recipe(chosen, train_set, adapt=adapt)
    labelled, own = len(train_set.labelled()), {*set_fields(settings), *fields}
    notes: list[str] = []
    if resume is None:
        chosen, notes = engine.fit_length(
            chosen, labelled, steps=steps, given=own, warn=limit is None
        )
        if eval_split is None and _same_images(request):
            notes.append(
                f"warning: {train_set.name} has one split, so the model is evaluated on the images "
                "that it is trained on, and its AP says little about others: hold some back, and "
                "name their file with --eval-annotations or in a dataset.toml."
            )
        engine.check_buildable(chosen, train_set.skeleton)
        folder = engine.new_run(Path(runs), "train", chosen.name, train_set.name)
    else:
        folder = Path(resume)
        if steps is not None:
            chosen = engine.of_steps(chosen, labelled, steps, given=own, only_epochs=True)
        if recipe is not None:
            chosen = engine.with_warmup_of(folder, chosen, labelled)
    request = request.on(folder, train_set, eval_set)
    evaluation = engine.train(
        chosen, train_set, eval_set, folder, options,
        resume=resume is not None, callback=callback, request=request, weights=start, notes=notes,
    )  # fmt: skip
    rows = engine.tidy_rows(
        evaluation.metrics, recipe=chosen, dataset=eval_set.name, split=eval_set.split,
        tta=chosen.inference.label, device=place, precision=chosen_precision, limit=request.limit,
    )  # fmt: skip
    engine.write_results(folder, rows)
    return Run(evaluation, eval_set, chosen, rows, folder)


def _same_images(request: TrainingRequest) -> bool:
    trained, evaluated = request.annotations, request.eval_annotations
    return request.split == request.eval_split and trained == evaluated


def _frozen(recipe: Recipe, part: str, *, learned: bool) -> Recipe:
    """Return the recipe with a part that is not trained; only a learned one can be frozen."""
    if part != "backbone":
        raise unknown_name("part to freeze", part, ("backbone",))
    if not learned:
        raise UsageError(
            f"--freeze backbone would keep random weights: {recipe.name} starts from no others "
            "here. Name some with --weights."
        )
    return replace(recipe, frozen_epochs=ALL_EPOCHS)


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def _names(names: str | Sequence[str | int]) -> list[str | int]:
    return [names] if isinstance(names, str) else list(names)


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
        precision: `fp32`, `bf16` or `auto`, which is fp32 here; of a loaded model, its own.
        batch_size: images per forward pass, at most; only images of one size share a pass.
        workers: processes that load images; None: none on a CPU, up to 8 beside a GPU.
        limit: evaluate on this many images at most, the first ones.
        strict: stop at the first image that cannot be read.
        runs: the folder in which the run folder is made; None: nothing is written.
        progress: is called with the number of images done and the number of all images.

    Raises:
        UsageError: a name or a value does not exist or does not fit.
        DataError: images, annotations or the result file are missing or wrong.
        ModelError: there is no such model, or it predicts other keypoints.
    """
    _check_target(model, predictions, oracle=oracle, settings=settings, dataset=dataset)
    _check_options(predictions, name, changed=not (flip is None and scales is None), limit=limit)
    chosen_precision = _eval_precision(precision)
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
        data = _open(used, split, choice, spare, data_root, annotations, exif, limit)
    else:
        data = opened if limit is None else _first_images(opened, limit)
    if recipe:
        source = str(checkpoint.path) if checkpoint else ""
        recipe = engine.fit_recipe(recipe, data, source, adapt=oracle and is_described(data))
    place = engine.pick_device(device) if checkpoint else None
    label = recipe.name if recipe else name or Path(str(predictions)).stem
    label = predictor.name if predictor else label
    # Made first: a folder that cannot be written should not cost an evaluation.
    folder = None if runs is None else engine.new_run(Path(runs), "eval", label, dataset_name)
    if recipe and checkpoint and place:
        evaluation = engine.evaluate(
            replace(checkpoint, recipe=recipe).model().to(place),
            data,
            recipe.inference,
            batch_size=batch_size,
            workers=engine.default_workers(place) if workers is None else workers,
            precision=chosen_precision,
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
    rows = engine.write_evaluation(
        folder, evaluation, recipe=recipe, dataset=data,
        tta="oracle" if oracle else recipe.inference.label if recipe else "",
        device=place, precision=chosen_precision if checkpoint else "",
        limit=checkpoint.facts.get("limit", 0) if checkpoint else 0, name=label,
    )  # fmt: skip
    return Run(evaluation, data, recipe, rows, folder)


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


def _eval_precision(name: str) -> Precision:
    """Return the precision of that name; `auto` is fp32: AP must not depend on the machine."""
    check_precision(name)
    return "bf16" if name == "bf16" else "fp32"


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
