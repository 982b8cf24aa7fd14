"""A trained model, ready to predict: what `posebench.load_model` returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from posebench.engine.backend_names import backend_of
from posebench.engine.checkpoint import Checkpoint
from posebench.engine.evaluation import autocast, inference_model
from posebench.engine.overlap import predict_batches
from posebench.engine.predicting import Predicting, as_rgb
from posebench.errors import ModelError
from posebench.models import PoseModel, Profile, profile_of
from posebench.recipe import Precision, Recipe
from posebench.skeleton import Skeleton
from posebench.structures import Heatmaps, Inference, PosePredictions, Sample, Trace

if TYPE_CHECKING:
    from posebench.engine.predicting import ImageLike


@dataclass(frozen=True)
class Model(Predicting):
    """A network with its keypoint set and test settings.

    `network` is the `PoseModel` beneath, in evaluation mode.
    """

    network: PoseModel
    checkpoint: Checkpoint  # which the network was built from
    precision: Precision = "fp32"

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        backend: str = "torch",
    ) -> Model:
        """Return the model of a checkpoint on a device, computed by a backend.

        Raises:
            ModelError: the weights do not fit the recipe.
            UsageError: there is no such device on this machine, or no such backend.
            UnsupportedError: the backend is not installed, or lacks an operator.
        """
        from posebench.engine.backends import placed

        checkpoint, place = placed(checkpoint, device, precision, backend)
        return cls(checkpoint.model().to(place), checkpoint, precision)

    @property
    def recipe(self) -> Recipe:
        return self.checkpoint.recipe

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints that it predicts."""
        return self.network.skeleton

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def source(self) -> str:
        # Not the file in the cache that a network was exported to behind the scenes.
        return str(self.checkpoint.weights_file)

    @property
    def kind(self) -> str:
        return self.recipe.method

    @property
    def draw_score(self) -> float:
        return self.recipe.draw_score

    @property
    def backend(self) -> str:
        """What computes the network: torch, or the runtime of an exported file."""
        return backend_of(self.checkpoint)

    @property
    def inference(self) -> Inference:
        """The input size, and the views whose predictions are merged."""
        return self.recipe.inference

    @property
    def device(self) -> torch.device:
        return self.network.device

    def __repr__(self) -> str:
        skeleton = self.skeleton
        return (
            f"Model({self.recipe.name} from {self.checkpoint.path}: {len(skeleton)} keypoints "
            f"({skeleton.name}), short side {self.inference.resize.short_side} px, "
            f"{self.device}, {self.precision}"
            + ("" if self.backend == "torch" else f", {self.backend}")
            + ")"
        )

    @cached_property
    def fast_network(self) -> PoseModel:
        """A faster copy with the same predictions: batch norms folded, weights converted."""
        return inference_model(self.network, self.precision)

    def explain(self, image: ImageLike) -> tuple[PosePredictions, Heatmaps]:
        with autocast(self.device, self.precision):
            predictions, maps = self._profile.explain(
                self.fast_network, Sample(as_rgb(image)), self.inference
            )
        return self._named(predictions), maps

    def trace(self, image: ImageLike, *, limit: int) -> tuple[PosePredictions, Trace]:
        if self.network.runtime is not None:
            raise ModelError(
                f"--steps follows gradients through the network, which {self.backend} does not "
                "have: name the run, on PyTorch."
            )
        predictions, trace = self._profile.trace(
            self.fast_network, Sample(as_rgb(image)), self.inference, limit
        )
        return self._named(predictions), trace

    @property
    def _profile(self) -> Profile[PoseModel]:
        return profile_of(self.recipe.config)

    def predict_stream(
        self, batches: Iterable[Sequence[ImageLike]]
    ) -> Iterator[list[PosePredictions]]:
        samples = ([Sample(as_rgb(image)) for image in images] for images in batches)
        for predictions in predict_batches(
            self.fast_network,
            samples,
            self.inference,
            lambda: autocast(self.device, self.precision),
        ):
            yield [self._named(people) for people in predictions]

    def _predicted(self, images: Sequence[Any]) -> list[PosePredictions]:
        return next(self.predict_stream([images]))

    def _named(self, people: PosePredictions) -> PosePredictions:
        """Return the people with what drawing them needs to know of the model."""
        return replace(people, skeleton=self.skeleton, draw_score=self.recipe.draw_score)
