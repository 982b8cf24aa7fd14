"""A trained model, ready to predict: what `posebench.load_model` returns."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.data.image_files import read_image
from posebench.engine.checkpoint import Checkpoint
from posebench.engine.devices import pick_device
from posebench.engine.evaluation import autocast, inference_model
from posebench.errors import DataError
from posebench.models import PoseModel, Profile, profile_of
from posebench.recipe import Precision, Recipe
from posebench.skeleton import Skeleton
from posebench.structures import Heatmaps, Inference, PosePredictions, Sample, Trace

if TYPE_CHECKING:
    import PIL.Image

    # An (H, W, 3) uint8 RGB array, the path of a file, or a PIL image.
    ImageLike: TypeAlias = NDArray[np.uint8] | str | Path | PIL.Image.Image


@dataclass(frozen=True)
class Model:
    """A network with its keypoint set and test settings.

    `network` is the `PoseModel` beneath, in evaluation mode.
    """

    network: PoseModel
    checkpoint: Checkpoint  # which the network was built from
    precision: Precision = "fp32"

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, *, device: str = "auto", precision: Precision = "fp32"
    ) -> Model:
        """Return the model of a checkpoint on a device.

        Raises:
            ModelError: the weights do not fit the recipe.
            UsageError: there is no such device on this machine.
        """
        place = pick_device(device)
        return cls(checkpoint.model().to(place), checkpoint, precision)

    @property
    def recipe(self) -> Recipe:
        return self.checkpoint.recipe

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints that it predicts."""
        return self.network.skeleton

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
            f"{self.device}, {self.precision})"
        )

    @cached_property
    def fast_network(self) -> PoseModel:
        """A faster copy with the same predictions: batch norms folded, weights converted."""
        return inference_model(self.network, self.precision)

    @overload
    def predict(self, images: ImageLike) -> PosePredictions: ...  # type: ignore[overload-overlap]

    @overload
    def predict(
        self, images: Iterable[ImageLike], *, batch_size: int = 8
    ) -> list[PosePredictions]: ...

    def predict(
        self, images: ImageLike | Iterable[ImageLike], *, batch_size: int = 8
    ) -> PosePredictions | list[PosePredictions]:
        """Return the people of an image, or of each of several images, best first.

        Args:
            images: an image, or several. An image is an (H, W, 3) uint8 RGB array, a path or a PIL
                image.
            batch_size: images per forward pass, at most; only images of one size share a pass.

        Returns:
            For one image its predictions, for several a list. Coordinates are in pixels of the
            image.

        Raises:
            DataError: an image cannot be read, or is something else.
        """
        if _is_image(images):
            return self._predicted([images])[0]
        if not isinstance(images, Iterable):
            raise _not_an_image(images)
        predictions: list[PosePredictions] = []
        waiting: list[Any] = []
        for image in images:
            waiting.append(image)
            if len(waiting) == batch_size:
                predictions += self._predicted(waiting)
                waiting.clear()
        return predictions + self._predicted(waiting)

    def explain(self, image: ImageLike) -> tuple[PosePredictions, Heatmaps]:
        """Return the people of an image, with the maps that they were read from.

        Raises:
            DataError: the image cannot be read, or is something else.
            ModelError: the method's profile does not say which maps those are.
        """
        with autocast(self.device, self.precision):
            predictions, maps = self._profile.explain(
                self.fast_network, Sample(as_rgb(image)), self.inference
            )
        return self._named(predictions), maps

    def trace(self, image: ImageLike, *, limit: int) -> tuple[PosePredictions, Trace]:
        """Return the people of an image, predicted from one view, with the steps to them.

        Args:
            limit: number of people whose score gradients are computed, from the best one on.

        Raises:
            DataError: the image cannot be read, or is something else.
            ModelError: the method predicts people in one step.
        """
        predictions, trace = self._profile.trace(
            self.fast_network, Sample(as_rgb(image)), self.inference, limit
        )
        return self._named(predictions), trace

    @property
    def _profile(self) -> Profile[PoseModel]:
        return profile_of(self.recipe.config)

    def _predicted(self, images: Sequence[Any]) -> list[PosePredictions]:
        samples = [Sample(as_rgb(image)) for image in images]
        with autocast(self.device, self.precision):
            predictions = self.fast_network.predict(samples, self.inference)
        return [self._named(people) for people in predictions]

    def _named(self, people: PosePredictions) -> PosePredictions:
        """Return the people with what drawing them needs to know of the model."""
        return replace(people, skeleton=self.skeleton, draw_score=self.recipe.draw_score)


def as_rgb(image: Any) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 RGB pixels of an array, a path or a PIL image.

    A file is turned as its EXIF orientation says, as `viz` does; the others are taken as they are.

    Raises:
        DataError: the file cannot be read, or it is none of these.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image), upright=True)
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return np.ascontiguousarray(image)
        raise _not_an_image(image)
    if _is_pil(image):
        return np.asarray(image.convert("RGB"), np.uint8)
    raise _not_an_image(image)


def _is_image(value: Any) -> bool:
    # A tensor is not an image, nor are its rows; as one value it gets a single clear error.
    return isinstance(value, str | Path | np.ndarray | torch.Tensor) or _is_pil(value)


def _is_pil(value: Any) -> bool:
    pil = sys.modules.get("PIL.Image")  # a PIL image exists only if this has been imported
    return pil is not None and isinstance(value, pil.Image)


def _not_an_image(value: Any) -> DataError:
    expected = "Expected an image as an (H, W, 3) uint8 RGB array, a path or a PIL image, but found"
    if isinstance(value, torch.Tensor):
        return DataError(
            f"{expected} a tensor of shape {tuple(value.shape)}: convert it with "
            "`(255 * tensor).byte().permute(1, 2, 0).cpu().numpy()`."
        )
    if not isinstance(value, np.ndarray):
        return DataError(f"{expected} {type(value).__name__}.")
    found = f"{expected} a {value.dtype} array of shape {value.shape}: "
    if value.ndim == 4:
        return DataError(f"{found}pass several images as a list, `list(images)`.")
    if value.ndim == 2:
        return DataError(f"{found}stack a grey image into three channels, `np.dstack([grey] * 3)`.")
    if value.ndim == 3 and value.shape[0] == 3 != value.shape[2]:
        return DataError(f"{found}move the channels last, `image.transpose(1, 2, 0)`.")
    if value.ndim == 3 and value.shape[2] == 4:
        return DataError(f"{found}leave out the alpha channel, `image[..., :3]`.")
    if value.dtype != np.uint8:
        return DataError(f"{found}values are whole numbers from 0 to 255, `.astype(np.uint8)`.")
    return DataError(f"{found}an image has pixels and three channels.")
