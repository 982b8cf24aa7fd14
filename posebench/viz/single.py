"""`posebench.draw`: people on a single image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench.engine import as_rgb
from posebench.errors import UsageError
from posebench.recipe import DRAW_SCORE
from posebench.skeleton import Skeleton
from posebench.structures import PosePredictions
from posebench.viz.colours import RGB
from posebench.viz.draw import draw_poses

if TYPE_CHECKING:
    from posebench.engine.predicting import ImageLike


def draw(
    image: ImageLike,
    people: PosePredictions,
    *,
    skeleton: Skeleton | None = None,
    min_score: float | None = None,
) -> RGB:
    """Return the image with the people's skeletons drawn on it, (H, W, 3) uint8 RGB.

    Args:
        image: an (H, W, 3) uint8 RGB array, a path or a PIL image.
        people: the people predicted on it.
        skeleton: their keypoint set; None: the one that the predictions carry.
        min_score: people with a lower score are left out; None: what suits the model that predicted
            them, or 0.1 if the predictions do not carry it.

    Raises:
        DataError: the image cannot be read.
        UsageError: the keypoint set is not known.
    """
    skeleton = skeleton or people.skeleton
    if skeleton is None:
        raise UsageError(
            "These predictions do not carry their keypoint set: pass skeleton=model.skeleton."
        )
    if min_score is None:
        min_score = DRAW_SCORE if people.draw_score is None else people.draw_score
    return draw_poses(as_rgb(image), people, skeleton, min_score=min_score)
