"""Predictors: any program that finds people in images, as a model that can be compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posebench.engine.predicting import Predicting, as_rgb
from posebench.errors import ModelError, PosebenchError, UsageError, unknown_name
from posebench.models import RECIPES
from posebench.plugins import PLUGINS, Registry, cause_of
from posebench.recipe import DRAW_SCORE
from posebench.skeleton import SKELETONS, Skeleton

if TYPE_CHECKING:
    from posebench.engine.predicting import ImageLike
    from posebench.structures import Heatmaps, PosePredictions, Trace

# Takes a list of (H, W, 3) uint8 RGB images of any sizes. Returns for each a pair: keypoints
# (N, K, 2) x, y in its pixels, or (N, K, 3) with a score of each, and people's scores (N,).
Function = Callable[[list[NDArray[np.uint8]]], Sequence[tuple[ArrayLike, ArrayLike]]]


class Predictor(Predicting):
    """A function that finds people in images, with a name and a keypoint set.

    `evaluate`, `speed` and `viz` take it in place of a model; what it computes with, and on which
    device, is its own matter.
    """

    def __init__(
        self,
        function: Function,
        *,
        name: str,
        skeleton: Skeleton | str = "coco",
        draw_score: float = DRAW_SCORE,
        backend: str = "",
    ) -> None:
        """Wrap a function.

        Args:
            function: from a list of images to keypoints and scores for each, see `Function`.
            name: in tables, and on the command line; letters, digits, `_`, `-` and `.`.
            skeleton: the keypoints in the order of the arrays: a `Skeleton`, the name of a built-in
                one, or the path of a TOML file.
            draw_score: pictures leave out people with a lower score.
            backend: the runtime that it computes with, as rows of `speed` name it; empty: unknown.

        Raises:
            UsageError: one of these does not fit.
        """
        if not callable(function):
            raise UsageError(
                f"A predictor wraps a function of a list of images, not {type(function).__name__}."
            )
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            raise UsageError(
                f"A predictor's name has letters, digits, `_`, `-` and `.` only, not {name!r}."
            )
        self.function = function
        self._name = name
        self._skeleton = skeleton if isinstance(skeleton, Skeleton) else _skeleton(skeleton)
        self._draw_score = draw_score
        self.backend = backend

    @property
    def name(self) -> str:
        return self._name

    @property
    def source(self) -> str:
        return f"{self.function.__module__}.{getattr(self.function, '__qualname__', self._name)}"

    @property
    def kind(self) -> str:
        return "predictors"

    @property
    def skeleton(self) -> Skeleton:
        return self._skeleton

    @property
    def draw_score(self) -> float:
        return self._draw_score

    def __repr__(self) -> str:
        return f"Predictor({self.name}: {len(self.skeleton)} keypoints ({self.skeleton.name}))"

    def explain(self, image: ImageLike) -> tuple[PosePredictions, Heatmaps]:
        self._refuse("--heatmaps")

    def trace(self, image: ImageLike, *, limit: int) -> tuple[PosePredictions, Trace]:
        self._refuse("--steps")

    def _refuse(self, option: str) -> NoReturn:
        raise ModelError(
            f"{self.name} is a predictor, of which posebench sees the poses alone: leave out "
            f"{option}."
        )

    def _predicted(self, images: Sequence[Any]) -> list[PosePredictions]:
        pixels = [as_rgb(image) for image in images]
        if not pixels:
            return []
        try:
            returned = self.function(pixels)
        except PosebenchError:
            raise
        except Exception as error:
            raise ModelError(
                f"The function of the predictor {self.name} fails: {cause_of(error)}."
            ) from error
        if not isinstance(returned, list | tuple) or len(returned) != len(pixels):
            found = len(returned) if isinstance(returned, list | tuple) else type(returned).__name__
            raise self._unfit(f"a list with an entry for each of {len(pixels)} images", found)
        return [self._poses(one) for one in returned]

    def _poses(self, returned: Any) -> PosePredictions:
        """Return what the function returns for an image, checked, best people first."""
        import torch

        from posebench.structures import PosePredictions

        if not isinstance(returned, list | tuple) or len(returned) != 2:
            raise self._unfit(
                "keypoints and scores, as a tuple, for each image", type(returned).__name__
            )
        keypoints, scores = (self._array(value) for value in returned)
        count = len(self.skeleton)
        if keypoints.size == 0 and scores.size == 0:
            keypoints, scores = np.zeros((0, count, 3)), np.zeros(0)
        if keypoints.ndim != 3 or keypoints.shape[1] != count or keypoints.shape[2] not in (2, 3):
            raise self._unfit(f"keypoints of shape (people, {count}, 2 or 3)", keypoints.shape)
        if scores.shape != keypoints.shape[:1]:
            raise self._unfit(f"scores of shape ({len(keypoints)},)", scores.shape)
        if not (np.isfinite(keypoints).all() and np.isfinite(scores).all()):
            raise self._unfit(
                "finite numbers (a keypoint that is not seen has some position, and the score 0)",
                "NaN or infinity",
            )
        order = np.argsort(-scores, kind="stable")
        keypoints, scores = keypoints[order], scores[order]
        own = keypoints[..., 2] if keypoints.shape[2] == 3 else scores[:, None].repeat(count, 1)
        return PosePredictions(
            torch.from_numpy(np.ascontiguousarray(keypoints[..., :2])),
            torch.from_numpy(np.ascontiguousarray(own)),
            torch.from_numpy(scores),
            skeleton=self.skeleton,
            draw_score=self.draw_score,
        )

    def _array(self, value: Any) -> NDArray[np.float64]:
        if hasattr(value, "detach"):  # a tensor, on any device
            value = value.detach().cpu().double().numpy()
        try:
            return np.array(value, np.float64)
        except (TypeError, ValueError):
            raise self._unfit("arrays of numbers", repr(value)[:60]) from None

    def _unfit(self, expected: str, found: object) -> ModelError:
        return ModelError(
            f"Expected {expected} from the function of the predictor {self.name}, but found "
            f"{found}: see docs/extending.md."
        )


PREDICTORS: Registry[Predictor] = Registry("predictors")


def add_predictors(module: Any) -> None:
    """Take the predictors that a module declares.

    Raises:
        UsageError: they are something else, or have names that others have.
    """
    declared = module.PREDICTORS
    if not isinstance(declared, list | tuple) or not all(
        isinstance(one, Predictor) for one in declared
    ):
        raise UsageError("its PREDICTORS are not a tuple of Predictor values")
    taken = {*PREDICTORS, *RECIPES, *(recipe.method for recipe in RECIPES.values())}
    for one in declared:
        if one.name in taken:
            raise UsageError(f"there is another model named {one.name!r}: choose another name")
        taken.add(one.name)
    PREDICTORS.update({one.name: one for one in declared})


PLUGINS.take("predictors", add_predictors)


def find_predictor(model: object) -> Predictor | None:
    """Return a predictor itself, or the one of a plugin by its name; None: it is something else."""
    if isinstance(model, Predictor):
        return model
    if isinstance(model, str) and model in PREDICTORS and not Path(model).exists():
        return PREDICTORS[model]
    return None


def _skeleton(name: str) -> Skeleton:
    if name in SKELETONS:
        return SKELETONS[name]
    if isinstance(name, str | Path):
        from posebench.data.described import find_skeleton

        return find_skeleton(str(name))
    raise unknown_name("skeleton", str(name), SKELETONS)
