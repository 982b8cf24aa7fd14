"""Train a recipe, or continue a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.api.datasets import open_chosen
from posebench.api.run import Run
from posebench.data import find_layout, is_described
from posebench.errors import UsageError, unknown_name
from posebench.recipe import (
    ALL_EPOCHS,
    Recipe,
    Settings,
    check_precision,
    set_fields,
    with_settings,
)

if TYPE_CHECKING:
    import torch

    from posebench.data import PoseDataset
    from posebench.engine import Evaluation, TrainingRequest
    from posebench.engine.callbacks import Callback


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
    compile: bool | None = None,
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
        precision: `fp32`, `tf32` (a GPU's products of rounded numbers), `bf16` (losses stay in
            fp32), or `auto`: bf16 where the hardware computes in it; None: `fp32`.
        workers: processes that load images; None: none on a CPU, up to 8 beside a GPU.
        limit: train and evaluate on this many images at most, the first ones of each split.
        strict: stop at the first image that cannot be read.
        compile: let torch.compile compute the network, for each image size; None: it does not.
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
        "strict": strict, "compile": compile, "limit": limit, "weights": _text(weights),
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
        compiler="inductor" if request.compile else "",
    )
    choice = request.choice()
    train_set, eval_set = (
        open_chosen(
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
    with engine.removed_unless_begun(folder) if resume is None else nullcontext():
        evaluation = engine.train(
            chosen, train_set, eval_set, folder, options, resume=resume is not None,
            callback=callback, request=request, weights=start, notes=notes,
        )  # fmt: skip
    return _outcome(evaluation, eval_set, chosen, request, place, folder)


def _outcome(
    evaluation: Evaluation,
    eval_set: PoseDataset,
    recipe: Recipe,
    request: TrainingRequest,
    device: torch.device,
    folder: Path,
) -> Run:
    """Write the rows of a training's last evaluation, and return its outcome."""
    from posebench import engine
    from posebench.bench.intervals import interval_of, limits_of
    from posebench.distributed import rank

    interval = interval_of(evaluation, eval_set) if rank() == 0 else None
    provenance = engine.provenance_of(
        recipe=recipe, dataset=eval_set,
        weights=engine.evaluated_weights(folder) if rank() == 0 else None,
        seeds={"training": request.seed, "bootstrap": interval.seed if interval else None},
    )  # fmt: skip
    rows = engine.tidy_rows(
        evaluation.metrics, recipe=recipe, dataset=eval_set.name, split=eval_set.split,
        tta=recipe.inference.label, device=device, precision=request.precision,
        limit=request.limit, provenance=provenance, intervals=limits_of(interval),
    )  # fmt: skip
    engine.write_results(folder, rows)
    return Run(evaluation, eval_set, recipe, rows, folder, interval)


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
