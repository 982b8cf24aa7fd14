"""What every method is: a network, its targets and losses, and the decoding of its outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from posebench.errors import ModelError
from posebench.layers.adjacency import KeypointDistances
from posebench.preprocess import scaled_batches
from posebench.structures import (
    Batch,
    Geometry,
    Heatmaps,
    PaperTiming,
    PosePredictions,
    Sample,
    Skeleton,
    TestTime,
    Trace,
)


class PoseModel(nn.Module, ABC):
    """A multi-person pose estimator.

    A method subclasses it once and chooses its own `Features`, `Outputs` and `Targets` types;
    the engine hands them on unopened.
    """

    # Published parameter prefix -> ours, for the weights that the authors released.
    published_names: ClassVar[Mapping[str, str]]
    # Patterns of published tensors that ours has no place for: duplicates, and what is computed.
    published_left_out: ClassVar[tuple[str, ...]] = ()
    # None: the paper prints no times.
    paper_timing: ClassVar[PaperTiming | None] = None

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        self.skeleton = skeleton

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @abstractmethod
    def load_pretrained(self) -> None:
        """Load the backbone's ImageNet weights.

        Raises:
            ModelError: they cannot be had.
        """

    def prepare(self, distances: Callable[[], KeypointDistances]) -> None:
        """Take from the training set what has to be known before the first step; most nothing.

        Args:
            distances: measures how far apart keypoints lie on people.
        """

    @abstractmethod
    def features(self, images: Tensor, padding: Tensor | None = None) -> Any:
        """Return what the backbone, and an encoder, make of (B, 3, H, W) normalised images.

        Args:
            padding: (B, H, W) bool, True on padding; None: there is none. Methods whose inputs are
                never padded do not look at it.
        """

    @abstractmethod
    def heads(self, features: Any, people: Tensor | None = None) -> Any:
        """Return the outputs; `people` (M, 3) image, y, x in cells are detected where None."""

    def forward(
        self, images: Tensor, padding: Tensor | None = None, people: Tensor | None = None
    ) -> Any:
        """Return the outputs of every learned part: what is counted, exported and timed."""
        return self.heads(self.features(images, padding), people)

    def network_stages(
        self, images: Tensor, padding: Tensor | None = None, people: Tensor | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Do what `forward` does and yield each stage's name with what came out; last, the outputs.

        For clocks. A method whose paper names stages has them here.
        """
        features = self.features(images, padding)
        yield "features", features
        yield "heads", self.heads(features, people)

    def as_written(
        self, images: Tensor, padding: Tensor | None = None, people: Tensor | None = None
    ) -> Any:
        """Return what `forward` does, by the equations as the paper writes them.

        For counters. It differs where `forward` takes fewer operations to the same values.
        """
        return self(images, padding, people)

    def given_people(self, batch: Batch) -> Tensor | None:
        """Return the batch's people as `heads` takes them; None: it does not look at them."""
        return None

    def alternatives(self, batch: Batch) -> Mapping[str, Callable[[], Any]]:
        """Return by name the ways to one stage's result that the paper compares, ready to run."""
        return {}

    @abstractmethod
    def targets(self, batch: Batch) -> Any:
        """Return what training compares with, on the batch's device."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named, weighted loss terms in float32; their sum is minimised."""

    @abstractmethod
    def decode(self, outputs: Any, geometry: Geometry) -> list[PosePredictions]:
        """Return the people of each image in original image pixels, best first."""

    @abstractmethod
    def ideal_outputs(self, batch: Batch) -> Any:
        """Return what a perfect network would output for the batch's people."""

    @abstractmethod
    def heatmaps(self, outputs: Any, geometry: Geometry) -> list[tuple[PosePredictions, Heatmaps]]:
        """Return each image's people as `decode` does, with the maps they were read from."""

    @abstractmethod
    def test_outputs(self, batches: Sequence[Batch], test_time: TestTime) -> Any:
        """Return the outputs that are decoded at test time, in the cells of the first batch.

        Args:
            batches: the same images at the scales of `test_time`.
            test_time: whether to merge what the mirrored images give.
        """

    @torch.inference_mode()
    def predict(self, samples: Sequence[Sample], test_time: TestTime) -> list[PosePredictions]:
        """Return the people of each sample, in its own pixels, best first."""
        found: dict[int, PosePredictions] = {}
        for positions, scaled in scaled_batches(samples, test_time):
            batches = [self._ready(batch) for batch in scaled]
            outputs = self.test_outputs(batches, test_time)
            found.update(zip(positions, self.decode(outputs, batches[0].geometry), strict=True))
        return [found[position] for position in range(len(samples))]

    @torch.inference_mode()
    def explain(self, sample: Sample, test_time: TestTime) -> tuple[PosePredictions, Heatmaps]:
        """Return what `predict` does for one sample, with the maps behind it."""
        [(_, scaled)] = scaled_batches([sample], test_time)
        batches = [self._ready(batch) for batch in scaled]
        outputs = self.test_outputs(batches, test_time)
        [explained] = self.heatmaps(outputs, batches[0].geometry)
        return explained

    def trace(
        self, sample: Sample, test_time: TestTime, most: int
    ) -> tuple[PosePredictions, Trace]:
        """Return a sample's people, shown once, with the steps to them.

        Args:
            most: of so many people, the best ones, it is found out what their scores rely on.

        Raises:
            ModelError: the method finds people in one step.
        """
        raise ModelError(
            f"{type(self).__name__} finds people in one step, of which there is nothing to follow: "
            "leave out --steps, or choose a model that refines its queries (group_pose)."
        )

    def _ready(self, batch: Batch) -> Batch:
        """Return the batch on the device, and its images in the precision, of the weights."""
        images = batch.images.to(next(self.parameters()).dtype)
        return replace(batch, images=images).to(self.device)
