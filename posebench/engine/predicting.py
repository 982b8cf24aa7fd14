"""What finds people in images: a network (`Model`) or any function (`Predictor`)."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from posebench.errors import DataError
from posebench.skeleton import Skeleton

if TYPE_CHECKING:
    import PIL.Image

    from posebench.structures import Heatmaps, PosePredictions, Trace

    # An (H, W, 3) uint8 RGB array, the path of a file, or a PIL image.
    ImageLike: TypeAlias = NDArray[np.uint8] | str | Path | PIL.Image.Image


class Predicting(ABC):
    """Finds the people of images; what evaluating, drawing and naming it takes."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in results and messages."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Where it comes from: the path of a checkpoint, a plugin; empty: not known."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """What the score below which people are not drawn is of, for messages."""

    @property
    @abstractmethod
    def skeleton(self) -> Skeleton:
        """The keypoints that it predicts."""

    @property
    @abstractmethod
    def draw_score(self) -> float:
        """The score below which pictures leave people out."""

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
        if is_image(images):
            return self._predicted([images])[0]
        if not isinstance(images, Iterable):
            raise not_an_image(images)
        predictions: list[PosePredictions] = []
        for people in self.predict_stream(_batches(images, batch_size)):
            predictions += people
        return predictions

    def predict_stream(
        self, batches: Iterable[Sequence[ImageLike]]
    ) -> Iterator[list[PosePredictions]]:
        """Yield the people of each batch of images, in order.

        A network on a GPU takes the next batch before it yields the people of the one before.
        """
        return map(self._predicted, batches)

    @abstractmethod
    def explain(self, image: ImageLike) -> tuple[PosePredictions, Heatmaps]:
        """Return the people of an image, with the maps that they were read from.

        Raises:
            DataError: the image cannot be read, or is something else.
            ModelError: it is not known which maps those are.
        """

    @abstractmethod
    def trace(self, image: ImageLike, *, limit: int) -> tuple[PosePredictions, Trace]:
        """Return the people of an image, predicted from one view, with the steps to them.

        Args:
            limit: number of people whose score gradients are computed, from the best one on.

        Raises:
            DataError: the image cannot be read, or is something else.
            ModelError: people are predicted in one step.
        """

    @abstractmethod
    def _predicted(self, images: Sequence[Any]) -> list[PosePredictions]:
        """Return the people of images that fit into one batch."""


def _batches(images: Iterable[ImageLike], size: int) -> Iterator[list[ImageLike]]:
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        yield batch


def as_rgb(image: Any) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 RGB pixels of an array, a path or a PIL image.

    A file is turned as its EXIF orientation says, as `viz` does; the others are taken as they are.

    Raises:
        DataError: the file cannot be read, or it is none of these.
    """
    if isinstance(image, str | Path):
        from posebench.data.image_files import read_image

        return read_image(Path(image), upright=True)
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return np.ascontiguousarray(image)
        raise not_an_image(image)
    if _is_pil(image):
        return np.asarray(image.convert("RGB"), np.uint8)
    raise not_an_image(image)


def is_image(value: Any) -> bool:
    # A tensor is not an image, nor are its rows; as one value it gets a single clear error.
    return isinstance(value, str | Path | np.ndarray) or _is_tensor(value) or _is_pil(value)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # a tensor exists only if this has been imported
    return torch is not None and isinstance(value, torch.Tensor)


def _is_pil(value: Any) -> bool:
    pil = sys.modules.get("PIL.Image")  # a PIL image exists only if this has been imported
    return pil is not None and isinstance(value, pil.Image)


def not_an_image(value: Any) -> DataError:
    expected = "Expected an image as an (H, W, 3) uint8 RGB array, a path or a PIL image, but found"
    if _is_tensor(value):
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
