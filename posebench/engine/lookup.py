"""Models by name: a run folder, a checkpoint, an exported file, or a recipe with weights.

torch is imported only once the file is known to exist.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.engine.predictor import PREDICTORS, find_predictor
from posebench.engine.runs import find_checkpoint
from posebench.errors import ModelError
from posebench.exporting import is_exported
from posebench.models import RECIPES
from posebench.published import find_published, published_for
from posebench.shipped import shipped_weights

if TYPE_CHECKING:
    from posebench.engine.checkpoint import Checkpoint


def find_model(place: str) -> Checkpoint:
    """Return the checkpoint of a run folder or a file, or a recipe's shipped or published weights.

    Raises:
        ModelError: there is none, it is damaged, or it cannot be downloaded.
        UnsupportedError: the library that reads an exported file is not installed.
    """
    if find_predictor(place) is not None:
        raise ModelError(
            f"{place} is a predictor, which has no weights to load: name it with eval, speed or "
            "viz."
        )
    named = place.partition("@")[0]
    if named in RECIPES and not Path(place).exists():
        shipped = shipped_weights(place)
        if shipped:
            from posebench.engine.checkpoint import read_checkpoint

            return read_checkpoint(shipped)
        entry = find_published(place)
        if entry is None:
            raise ModelError(_no_weights(place))
        from posebench.engine.weights import fetch_published

        return fetch_published(entry)
    if place in {recipe.method for recipe in RECIPES.values()} and not Path(place).exists():
        raise ModelError(
            f"{place} is a method, and a method alone has no weights: train it (`posebench train "
            f"{place} --dataset ...`), convert its authors' checkpoint with `posebench weights "
            "import`, name a run, a checkpoint or a recipe with weights, or score its upper bound "
            "with `eval --oracle`."
        )
    if Path(place).suffix == ".json" and Path(place).is_file():
        raise ModelError(
            f"{place} looks like a result file, not a model: score it with `posebench eval "
            f"--predictions {place} --dataset ...`."
        )
    near = difflib.get_close_matches(place, [*RECIPES, *PREDICTORS], n=1)
    if near and not Path(place).exists():
        raise ModelError(
            f"There is no run folder, checkpoint or recipe named {place}. Did you mean {near[0]}?"
        )
    if is_exported(place):
        from posebench.engine.exported import read_exported

        return read_exported(Path(place))
    path = find_checkpoint(Path(place))
    from posebench.engine.checkpoint import read_checkpoint

    return read_checkpoint(path)


def _no_weights(recipe: str) -> str:
    """Return what to do for a recipe whose weights no program can get."""
    by_hand = [entry.by_hand() for entry in published_for(recipe)]
    convert = "convert its authors' checkpoint with `posebench weights import`"
    return (
        f"The recipe {recipe} has no weights here, and none can be downloaded by a program: "
        f"{by_hand[0] if by_hand else convert}, train it (`posebench train {recipe} --dataset "
        "...`), name a run or a checkpoint, or score its upper bound with `eval --oracle`."
    )
