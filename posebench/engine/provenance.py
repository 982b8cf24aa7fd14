"""What a measured number depends on, as columns of every tidy row.

docs/cards.md describes the columns, and lists what each version of the protocol means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.files import file_sha256
from posebench.recipe import Recipe, recipe_to_json, without_later_fields
from posebench.skeleton import Skeleton

if TYPE_CHECKING:
    from posebench.data import PoseDataset

# Raised when a rule of measuring changes, so that numbers of two versions are not taken for
# comparable; docs/cards.md says what each version means, and a test holds the two together.
PROTOCOL_VERSION = 1

COLUMNS = ("protocol_version", "recipe_hash", "data_hash", "weights_sha256", "seeds")

_DIGITS = 16  # of the hashes of recipes and data; weights have all 64


@dataclass(frozen=True)
class Provenance:
    """Hashes of what a number was computed from; empty: it has no such thing, or it is unknown."""

    recipe: str = ""  # `recipe_hash`
    data: str = ""  # `data_hash`
    weights: str = ""  # SHA-256 of the file
    seeds: str = ""  # "training 0, images 0"

    def columns(self) -> dict[str, Any]:
        """Return the columns of a tidy row."""
        values = (PROTOCOL_VERSION, self.recipe, self.data, self.weights, self.seeds)
        return dict(zip(COLUMNS, values, strict=True))


def weights_hash(path: Path) -> str:
    """Return the SHA-256 of a weights file; OpenVINO's .xml has its weights in the .bin beside it.

    Raises:
        OSError: it cannot be read.
    """
    beside = path.with_suffix(".bin")
    return file_sha256(beside if path.suffix == ".xml" and beside.is_file() else path)


def provenance_of(
    *,
    recipe: Recipe | None = None,
    dataset: PoseDataset | None = None,
    weights: Path | None = None,
    seeds: Mapping[str, int | None] | None = None,
) -> Provenance:
    """Return where a number comes from; None: it does not depend on it.

    Args:
        recipe: that was evaluated or timed.
        dataset: on which it was.
        weights: the file, which is read whole the first time.
        seeds: by what they seed; None: not known. That of drawn images is added.
    """
    known = dict(seeds or {})
    if dataset is not None:
        known.setdefault("images", dataset.seed)
    skeleton = dataset.skeleton if dataset is not None else recipe and recipe.skeleton
    return Provenance(
        recipe_hash(recipe, skeleton) if recipe and skeleton else "",
        data_hash(dataset) if dataset is not None else "",
        weights_hash(weights) if weights is not None and weights.is_file() else "",
        ", ".join(f"{name} {seed}" for name, seed in known.items() if seed is not None),
    )


def recipe_hash(recipe: Recipe, skeleton: Skeleton) -> str:
    """Return a hash of all fields of a recipe that its training or its tests depend on."""
    values = recipe_to_json(recipe, skeleton)
    for name in ("reported", "test_overrides", "default_for"):
        del values[name]
    # A field that a later version adds must not change the hash of a recipe that does not use it.
    without_later_fields(values)
    return _short(json.dumps(values, sort_keys=True))


def data_hash(dataset: PoseDataset) -> str:
    """Return a hash of all that scores depend on: annotations, images' names, and the protocol.

    The pixels of image files are not part of it.
    """
    protocol = dataset.protocol
    rules = {
        "keypoints": protocol.skeleton.keypoints,
        "sigmas": [float(sigma) for sigma in protocol.skeleton.sigmas],
        "area_of_box": protocol.area_of_box,
        "crowd_index": protocol.crowd_index,
        "head_boxes": protocol.head_boxes,
        "separate": protocol.separate,
        "metric": getattr(protocol.metric, "__qualname__", "") if protocol.metric else "",
    }
    return _short(json.dumps([dataset.scored_contents(), rules]))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
