"""What every method is: a network, its targets and losses, and the decoding of its outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from posebench.errors import ModelError
from posebench.models.keypoint_rows import Rows
from posebench.preprocess import scaled_batches
from posebench.recipe import ModelConfig
from posebench.skeleton import Skeleton
from posebench.structures import (
    Batch,
    Geometry,
    Inference,
    KeypointStatistics,
    PosePredictions,
    Sample,
)


@dataclass(frozen=True)
class Release:
    """Weights of a method's network in another code base than its authors'."""

    source: str  # the code base, as users call it
    names: Mapping[str, str]  # parameter prefix there -> ours; the first that matches is replaced
    left_out: tuple[str, ...] = ()  # patterns of tensors that ours has no place for
    stacks: Mapping[str, str] = field(default_factory=dict)  # see `PoseModel.published_stacks`
    # Recipe fields in which its network, resizing and decoding differ from the authors'.
    settings: tuple[str, ...] = ()
    other_network: bool = False  # whether they change the network's tensors


class Runtime(Protocol):
    """What computes an exported network's outputs in place of its layers."""

    def __call__(self, model: Any, images: Tensor, padding: Tensor | None) -> Any:
        """Return the outputs as the model's `forward` does."""


@dataclass(frozen=True)
class Undecoded:
    """The outputs for samples of one network size."""

    positions: tuple[int, ...]  # of the samples among those that are predicted together
    outputs: Any
    geometry: Geometry


class PoseModel(nn.Module, ABC):
    """A multi-person pose estimator.

    A method subclasses it once and chooses its own `Features`, `Outputs` and `Targets` types;
    the engine hands them on unopened.
    """

    # Published parameter prefix -> ours; empty: the authors released no weights.
    published_names: ClassVar[Mapping[str, str]] = {}
    # Published prefix -> ours, for layers that are published one by one and that are groups of one
    # layer here; a star stands for the number of the layer.
    published_stacks: ClassVar[Mapping[str, str]] = {}
    # Patterns of published tensors that ours has no place for: duplicates, and what is computed.
    ignored_checkpoint_keys: ClassVar[tuple[str, ...]] = ()
    other_releases: ClassVar[tuple[Release, ...]] = ()
    # Tensors of the state that are computed, not learned: a training that starts from the weights
    # of another keeps its own.
    computed_tensors: ClassVar[tuple[str, ...]] = ()
    # Of a network that is read from an exported file, which has no weights of its own.
    runtime: Runtime | None = None

    def __init__(self, config: ModelConfig, skeleton: Skeleton) -> None:
        super().__init__()
        self.config = config
        self.skeleton = skeleton

    @property
    def device(self) -> torch.device:
        if self.runtime is not None:
            return torch.device("cpu")
        return next(self.parameters()).device

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # What has no weights is moved nowhere.
        if self.runtime is not None:
            return self
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]

    def load_pretrained(self) -> None:
        """Load the backbone's ImageNet weights.

        Raises:
            ModelError: there are none, or they cannot be downloaded.
        """
        raise ModelError(
            f"There are no ImageNet weights for the backbone of {self.config.method}: add "
            "--no-pretrained."
        )

    def keypoint_rows(self) -> Mapping[str, Rows]:
        """Return by name the tensors that have rows of keypoints, and which (`keypoint_rows.py`).

        With it, a training starts from the weights of a model with other keypoints, or the same
        ones in another order; tensors that are not named are taken where their shapes are equal.
        """
        return {}

    def prepare(self, statistics: Callable[[], KeypointStatistics]) -> None:
        """Take statistics of the training set before the first step; most methods need none.

        Args:
            statistics: measures the mean distances between keypoints, and the mean pose.
        """

    @abstractmethod
    def features(self, images: Tensor, padding: Tensor | None = None) -> Any:
        """Return the features that the backbone, and an encoder, compute.

        Args:
            images: (B, 3, H, W), normalised.
            padding: (B, H, W) bool, True on padding; None: there is none. Methods whose inputs are
                never padded ignore it.
        """

    @abstractmethod
    def heads(self, features: Any, people: Tensor | None = None) -> Any:
        """Return the outputs.

        Args:
            features: as `features` returns them.
            people: (M, 3) image, y, x in cells, sorted by image and on the CPU, since their number
                decides on shapes; None: they are detected.
        """

    def forward(
        self, images: Tensor, padding: Tensor | None = None, people: Tensor | None = None
    ) -> Any:
        """Return the outputs of every learned part: what is counted, exported and timed."""
        if self.runtime is not None:
            return self.runtime(self, images, padding)
        return self.heads(self.features(images, padding), people)

    def compile_network(self, backend: str = "inductor") -> None:
        """Let torch.compile compute the network from now on, in place.

        What compiles is `forward`, and the parts that losses or merged views call alone: every part
        that computes for one image size. Each size is compiled for itself, since inductor fails at
        CID's network where sizes are left open; above dynamo's limit, eight, sizes are computed
        without. A copy of the model is not compiled.

        Args:
            backend: of torch.compile.
        """
        self.compile(backend=backend, dynamic=False)
        for part in self.children():
            if not isinstance(part, nn.ModuleList | nn.ModuleDict):
                part.compile(backend=backend, dynamic=False)

    @abstractmethod
    def targets(self, batch: Batch) -> Any:
        """Return the training targets, on the batch's device."""

    def target_builder(self) -> Callable[[Batch], Any] | None:
        """Return what builds `Batch.targets` on the CPU, where training's images are loaded.

        It serves targets that take the CPU long and do not depend on the network, and is pickled
        where images are loaded by processes. None: `targets` does without.
        """
        return None

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named, weighted loss terms in float32; their sum is minimised."""

    @abstractmethod
    def decode(self, outputs: Any, geometry: Geometry) -> list[PosePredictions]:
        """Return the people of each image in original image pixels, best first, on the CPU.

        Outputs of a GPU come in as few copies as possible: Python waits for each.
        """

    def merged_outputs(self, batches: Sequence[Batch], inference: Inference) -> Any:
        """Return the outputs to decode, merged over all views of the images.

        Args:
            batches: the same images at the scales of `inference`; outputs are in the cells of the
                first.
            inference: whether to merge what the mirrored images give.

        Raises:
            ModelError: several views are wanted, and the method does not say how to merge them.
        """
        if len(batches) > 1 or inference.flip:
            raise ModelError(
                f"{type(self).__name__} merges neither mirrored images nor several scales: test "
                "it on single images, with --no-flip and without --scales."
            )
        return self(batches[0].images, batches[0].padding)

    def predict(self, samples: Sequence[Sample], inference: Inference) -> list[PosePredictions]:
        """Return the people of each sample, in its own pixels, best first, on the CPU."""
        return self.decoded(self.undecoded(samples, inference))

    def undecoded(self, samples: Sequence[Sample], inference: Inference) -> Iterator[Undecoded]:
        """Yield the outputs for samples, those of one network size together."""
        for positions, scaled in scaled_batches(samples, inference):
            with torch.inference_mode():
                batches = [self.ready(batch) for batch in scaled]
                outputs = self.merged_outputs(batches, inference)
            yield Undecoded(tuple(positions), outputs, batches[0].geometry)

    @torch.inference_mode()
    def decoded(self, undecoded: Iterable[Undecoded]) -> list[PosePredictions]:
        """Return the people in the outputs for some samples, in the samples' order."""
        predictions: dict[int, PosePredictions] = {}
        for one in undecoded:
            decoded = self.decode(one.outputs, one.geometry)
            predictions.update(zip(one.positions, decoded, strict=True))
        return [predictions[position] for position in sorted(predictions)]

    def ready(self, batch: Batch) -> Batch:
        """Return the batch on the device, and its images in the precision, of the weights."""
        if self.runtime is not None:
            return batch
        images = batch.images.to(next(self.parameters()).dtype)
        return replace(batch, images=images).to(self.device)
