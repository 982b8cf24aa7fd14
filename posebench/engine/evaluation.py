"""Evaluation of a model, of ideal outputs or of a result file on a dataset."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from posebench.data.base import PoseDataset
from posebench.data.loader import Unreadable, eval_samples
from posebench.distributed import all_gather_object, broadcast_object, rank, world_size
from posebench.engine.overlap import predict_batches
from posebench.errors import DataError, ModelError, Notice
from posebench.layers.folding import folded
from posebench.layers.fused_conv import fused
from posebench.metrics import ResultFile, evaluate_poses, read_results
from posebench.metrics.results import Results
from posebench.models import PoseModel, profile_of
from posebench.preprocess import blank_batch
from posebench.recipe import Precision, Recipe
from posebench.skeleton import Skeleton, named_skeletons, same_keypoints, why_unpaired
from posebench.structures import Inference, PosePredictions, Sample

if TYPE_CHECKING:
    from posebench.engine.predictor import Predictor

M = TypeVar("M", bound=PoseModel)
# From batches of samples to the people of each.
_Predict = Callable[[Iterable[Sequence[Sample]]], Iterator[list[PosePredictions]]]


@dataclass(frozen=True)
class Evaluation:
    """Metrics, with the predictions they were computed from."""

    # As fractions; -1 where there was no ground truth to detect. Empty: images without annotations.
    metrics: dict[str, float]
    results: Sequence[dict[str, Any]]  # in COCO's format
    images: int
    seconds: float
    unreadable: list[Unreadable] = field(default_factory=list)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return an autocast context for a precision.

    PyTorch's convolutions on a GPU round their inputs to TF32, which has ten bits; here they do in
    tf32 alone, from now on in this process.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def inference_model(model: M, precision: Precision = "fp32", compiler: str = "") -> M:
    """Return a faster copy with the same predictions: batch norms folded, channels last.

    On a CPU in float32, convolutions add residuals and apply ReLUs themselves. A network that
    another runtime computes is returned as it is.

    Args:
        model: in evaluation mode.
        precision: the copy's.
        compiler: backend of torch.compile, which computes the network; empty: PyTorch does.
    """
    if model.runtime is not None:
        return model
    copy = folded(model).to(memory_format=torch.channels_last)
    if compiler:
        copy = copy.to(torch.bfloat16) if precision == "bf16" else copy
        copy.compile_network(compiler)
        return copy
    if precision == "fp32" and copy.device.type == "cpu":
        return fused(copy)
    # Converted once: autocast would convert every weight in every batch.
    return copy.to(torch.bfloat16) if precision == "bf16" else copy


def fit_recipe(
    recipe: Recipe, dataset: PoseDataset, source: str = "", *, adapt: bool = False
) -> Recipe:
    """Return the recipe as it suits the keypoints of a dataset.

    Where left and right are not known, nothing is mirrored, in training as in tests; that is said.

    Args:
        recipe: with the keypoints that it predicts, or any.
        dataset: what it is trained or evaluated on.
        source: the checkpoint, for the message; empty: there is none.
        adapt: train a recipe for other keypoints on those of the dataset.

    Raises:
        ModelError: they have different keypoints.
    """
    own, other = recipe.skeleton, dataset.skeleton
    if own is not None and not same_keypoints(own, other):
        if not adapt:
            raise ModelError(
                f"{dataset.name} has {len(other)} keypoints ({_names(other)}), but "
                f"{source or recipe.name} predicts {len(own)} ({_names(own)}). "
                f"Train one for it: posebench train {recipe.method} --dataset {dataset.reference}"
            )
        recipe = replace(recipe, skeleton=None)
    if other.pairs is None and recipe.mirrors:
        warnings.warn(
            f"{dataset.name}: pictures are not mirrored, in training as in tests: "
            f"{why_unpaired(other.keypoints)} `pairs` in a dataset.toml says it.",
            Notice,
            stacklevel=2,
        )
        recipe = recipe.without_mirrors()
    return recipe


def check_buildable(recipe: Recipe, skeleton: Skeleton) -> None:
    """Check that a recipe's network can be built for a keypoint set, before anything is written.

    Raises:
        ModelError: the method cannot predict this keypoint set.
    """
    with torch.device("meta"):
        recipe.build(skeleton)


def _names(skeleton: Skeleton) -> str:
    """Return a built-in skeleton's name, or else the first names of its keypoints."""
    if named_skeletons().get(skeleton.name) == skeleton:
        return skeleton.name
    return ", ".join(skeleton.keypoints[:20]) + (", ..." if len(skeleton) > 20 else "")


def predict_dataset(
    model: PoseModel,
    dataset: PoseDataset,
    indices: Sequence[int],
    inference: Inference,
    *,
    batch_size: int,
    workers: int = 0,
    precision: Precision = "fp32",
) -> Iterator[tuple[Sample, PosePredictions] | Unreadable]:
    """Yield each image with its predictions, or why it could not be read."""
    predict = _predict_by(model, inference, precision)
    return _in_batches(predict, dataset, indices, batch_size=batch_size, workers=workers)


def _predict_by(
    model: PoseModel, inference: Inference, precision: Precision, compiler: str = ""
) -> _Predict:
    model = inference_model(model, precision, compiler)

    def predict(batches: Iterable[Sequence[Sample]]) -> Iterator[list[PosePredictions]]:
        return predict_batches(model, batches, inference, lambda: autocast(model.device, precision))

    return predict


def _in_batches(
    predict: _Predict,
    dataset: PoseDataset,
    indices: Sequence[int],
    *,
    batch_size: int,
    workers: int,
) -> Iterator[tuple[Sample, PosePredictions] | Unreadable]:
    unreadable: deque[Unreadable] = deque()
    waiting: deque[list[Sample]] = deque()

    def batches() -> Iterator[list[Sample]]:
        samples: list[Sample] = []
        for item in eval_samples(dataset, indices, workers=workers):
            if isinstance(item, Unreadable):
                unreadable.append(item)
                continue
            samples.append(item)
            if len(samples) == batch_size:
                waiting.append(samples)
                yield samples
                samples = []
        if samples:
            waiting.append(samples)
            yield samples

    for predictions in predict(batches()):
        while unreadable:
            yield unreadable.popleft()
        yield from zip(waiting.popleft(), predictions, strict=True)
    yield from unreadable


def evaluate(
    model: PoseModel,
    dataset: PoseDataset,
    inference: Inference,
    *,
    batch_size: int = 8,
    workers: int = 0,
    precision: Precision = "fp32",
    compiler: str = "",
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Predict and score a dataset; the ranks share its images, and all return the whole result.

    Images without annotations are predicted, and not scored.

    Args:
        compiler: backend of torch.compile, which computes the network; empty: PyTorch does.
        strict: stop at the first image that cannot be read; otherwise its people count as missed
            and it is listed in the evaluation.
        progress: is called with the number of images done and the number of all images.

    Raises:
        DataError: an image cannot be read and `strict` is set, or none can be read.
    """
    return evaluate_by(
        _predict_by(model, inference, precision, compiler), dataset, batch_size=batch_size,
        workers=workers, strict=strict, progress=progress,
    )  # fmt: skip


def evaluate_predictor(
    predictor: Predictor,
    dataset: PoseDataset,
    *,
    batch_size: int = 8,
    workers: int = 0,
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Predict and score a dataset, as `evaluate` does.

    Raises:
        ModelError: the predictor has other keypoints, or fails.
        DataError: an image cannot be read and `strict` is set, or none can be read.
    """
    own, other = predictor.skeleton, dataset.skeleton
    if not same_keypoints(own, other):
        raise ModelError(
            f"{dataset.name} has {len(other)} keypoints ({_names(other)}), but the predictor "
            f"{predictor.name} has {len(own)} ({_names(own)}): return those of the dataset, in its "
            "order, and name them with skeleton=."
        )

    def predict(batches: Iterable[Sequence[Sample]]) -> Iterator[list[PosePredictions]]:
        for samples in batches:
            yield predictor.predict([sample.image for sample in samples], batch_size=batch_size)

    return evaluate_by(
        predict, dataset, batch_size=batch_size, workers=workers, strict=strict, progress=progress
    )


def evaluate_by(
    predict: _Predict,
    dataset: PoseDataset,
    *,
    batch_size: int,
    workers: int,
    strict: bool,
    progress: Callable[[int, int], None],
) -> Evaluation:
    """Score what a function predicts of a dataset; see `evaluate`."""
    start = time.perf_counter()
    results: list[dict[str, Any]] = []
    unreadable: list[Unreadable] = []
    category = dataset.ground_truth().category_ids[0]
    # Whole batches, so that the composition of batches does not depend on the number of ranks.
    indices = [i for i in range(len(dataset)) if i // batch_size % world_size() == rank()]
    stream = _in_batches(predict, dataset, indices, batch_size=batch_size, workers=workers)
    for done, item in enumerate(stream, start=1):
        if isinstance(item, Unreadable):
            if strict:
                raise DataError(item.message)
            unreadable.append(item)
        else:
            sample, predictions = item
            results += predictions.to_coco(sample.image_id, category)
        progress(done, len(indices))
    if world_size() > 1:
        truth = dataset.ground_truth()
        position = {truth.image_id(index): index for index in range(truth.num_images)}
        results = [result for part in all_gather_object(results) for result in part]
        results.sort(key=lambda result: position[result["image_id"]])
        unreadable = [image for part in all_gather_object(unreadable) for image in part]
    if unreadable and len(unreadable) == len(dataset):
        raise DataError(
            f"None of the {len(dataset)} images of {dataset.name} {dataset.split} can be read; the "
            f"first: {unreadable[0].message}"
        )
    scored = rank() == 0 and dataset.ground_truth().annotated
    metrics = broadcast_object(score(results, dataset) if scored else {})
    seconds = time.perf_counter() - start
    return Evaluation(metrics, results, len(dataset), seconds, unreadable)


def evaluate_ideal(
    recipe: Recipe,
    dataset: PoseDataset,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Decode and score ideal network outputs: the upper bound of the representation.

    This needs the annotations only, neither pixels nor weights.
    """
    with torch.device("meta"):  # the weights are never read, and take no memory
        model = recipe.build(dataset.skeleton)
    profile = profile_of(recipe.config)
    start = time.perf_counter()
    results: list[dict[str, Any]] = []
    category = dataset.ground_truth().category_ids[0]
    with torch.inference_mode():
        for index in range(len(dataset)):
            sample = dataset.load(index, pixels=False)
            batch = blank_batch(sample, recipe.inference.resize)
            outputs = profile.ideal_outputs(model, batch)
            (predictions,) = model.decode(outputs, batch.geometry)
            results += predictions.to_coco(sample.image_id, category)
            progress(index + 1, len(dataset))
    seconds = time.perf_counter() - start
    return Evaluation(score(results, dataset), results, len(dataset), seconds)


def evaluate_file(path: Path, dataset: PoseDataset) -> Evaluation:
    """Score a result file in COCO's format.

    Raises:
        DataError: the file is missing or damaged, or its content cannot be scored.
    """
    start = time.perf_counter()
    metrics = score(read_results(path, dataset.ground_truth()), dataset)
    return Evaluation(metrics, ResultFile(path), len(dataset), time.perf_counter() - start)


def score(results: Results, dataset: PoseDataset) -> dict[str, float]:
    """Return the metrics by the dataset's protocol.

    Raises:
        DataError: the images are not annotated.
    """
    truth = dataset.ground_truth()
    if not truth.annotated:
        raise DataError(
            f"The images of {dataset.name} {dataset.split} are not annotated, so nothing can be "
            f"scored here. {dataset.submission}".strip()
        )
    return evaluate_poses(truth, results, dataset.protocol)
