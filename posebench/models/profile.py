"""What benchmarks, figures, exporting and the oracle need to know of a method.

Training and prediction do without: they need `PoseModel` alone. A method's own `Profile` lies in
its package's `profile.py`; what it leaves out keeps the defaults below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar

import torch
from torch import Tensor

from posebench.errors import ModelError
from posebench.models.base import PoseModel
from posebench.models.graph import Graph
from posebench.preprocess import scaled_batches
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    Inference,
    PaperTiming,
    PosePredictions,
    Sample,
    Trace,
)

M = TypeVar("M", bound=PoseModel)


def _no_ideal_outputs(model: PoseModel, batch: Batch) -> NoReturn:
    raise ModelError(
        f"{type(model).__name__} does not say what a perfect network would output, so it has no "
        "upper bound: add `ideal_outputs` to its profile."
    )


def _no_heatmaps(model: PoseModel, outputs: Any, geometry: Geometry) -> NoReturn:
    raise ModelError(
        f"{type(model).__name__} does not say which maps its poses were read from: leave out "
        "--heatmaps, or add `heatmaps` to its profile."
    )


def _no_trace(model: PoseModel, sample: Sample, inference: Inference, limit: int) -> NoReturn:
    raise ModelError(
        f"{type(model).__name__} finds people in one step, so there are no steps to draw: leave "
        "out --steps, or choose a model that refines its queries, such as Group Pose."
    )


def _features_and_heads(
    model: PoseModel, images: Tensor, padding: Tensor | None, people: Tensor | None
) -> Iterator[tuple[str, Any]]:
    features = model.features(images, padding)
    yield "features", features
    yield "heads", model.heads(features, people)


def _detects_people(model: PoseModel, batch: Batch) -> None:
    """Return None: the method ignores people that are given to it."""


@dataclass(frozen=True)
class Profile(Generic[M]):
    """A method as seen by `speed`, `flops`, `viz` and `eval --oracle`; every field is a function.

    Each takes the model first.
    """

    # (model, batch) -> the outputs of a perfect network for the batch's people.
    ideal_outputs: Callable[[M, Batch], Any] = _no_ideal_outputs
    # (model, outputs, geometry) -> each image's people as `decode` returns them, with their maps.
    heatmaps: Callable[[M, Any, Geometry], list[tuple[PosePredictions, Heatmaps]]] = _no_heatmaps
    # (model, sample, inference, limit) -> a sample's people, predicted from one view, and the steps
    # to them; score gradients are computed for the `limit` best people.
    trace: Callable[[M, Sample, Inference, int], tuple[PosePredictions, Trace]] = _no_trace
    # (model, images, padding, people) -> what `forward` does, in the stages that the paper names:
    # each stage's name with its result; the last result is the outputs.
    stages: Callable[[M, Tensor, Tensor | None, Tensor | None], Iterator[tuple[str, Any]]] = (
        _features_and_heads
    )
    # (model, images, padding, people) -> what `forward` returns, by the paper's equations one by
    # one; None: `forward` takes no fewer operations than they do.
    as_written: Callable[[M, Tensor, Tensor | None, Tensor | None], Any] | None = None
    # (model, batch) -> the batch's people as `heads` takes them; None: it detects them itself.
    given_people: Callable[[M, Batch], Tensor | None] = _detects_people
    # (model, batch) -> by name the ways to one stage's result that the paper compares, ready to
    # run; None: it compares none.
    alternatives: Callable[[M, Batch], Mapping[str, Callable[[], Any]]] | None = None
    graph: Graph[M] = field(default_factory=Graph)  # the network in other runtimes
    paper_timing: PaperTiming | None = None  # None: the paper prints no times

    @torch.inference_mode()
    def explain(
        self, model: M, sample: Sample, inference: Inference
    ) -> tuple[PosePredictions, Heatmaps]:
        """Return what `predict` does for one sample, with the maps its people were read from."""
        [(_, scaled)] = scaled_batches([sample], inference)
        batches = [model.ready(batch) for batch in scaled]
        outputs = model.merged_outputs(batches, inference)
        [explained] = self.heatmaps(model, outputs, batches[0].geometry)
        return explained
