"""Where predictions and pictures are written, under which names, and what a stopped run is asked.

Nothing here predicts: `prediction` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.errors import UsageError

if TYPE_CHECKING:
    from posebench.data.frames import Source
    from posebench.engine import Predicting

RESULTS = "predictions.jsonl"  # in a folder of results
IMAGES = "images"  # its folder of pictures


@dataclass(frozen=True)
class PredictOptions:
    """What decides on the results, besides the model and the sources."""

    min_score: float = 0.0
    track: bool = False
    smooth: bool = False
    batch_size: int = 1
    limit: int | None = None  # frames
    strict: bool = False
    reopen: int = 5
    draw_score: float = 0.0  # of the people in pictures


def results_file(out: str | Path | None) -> Path | None:
    """Return the file of the results."""
    if out is None:
        return None
    path = Path(out)
    is_folder = path.is_dir() or not path.suffix
    return path / RESULTS if is_folder else path


def picture_folder(out: str | Path | None, target: Path | None) -> Path | None:
    """Return the folder of the pictures of results that `results_file` has named."""
    if out is None or target is None:
        return None
    return target.parent / (IMAGES if target != Path(out) else f"{target.stem}_{IMAGES}")


def check_replaces_nothing(
    sources: Sequence[Source], target: Path | None, images: Path | None
) -> None:
    """Check that neither the results nor the pictures replace files of the user.

    Raises:
        UsageError: they would.
    """
    from posebench.data.image_sources import real

    files = [one.path for one in sources if one.kind in ("image", "video")]
    if target and target.exists() and real(target) in set(map(real, files)):
        raise UsageError(f"The results would replace the source {target}: choose another file.")
    if target is None or images is None or not images.is_dir():
        return
    from posebench.engine.prediction import is_unfinished

    folder = real(images)
    inside = next((file for file in files if real(file).is_relative_to(folder)), None)
    if inside:
        raise UsageError(
            f"Pictures would be written to {images}, where the source {inside} is: choose another "
            "--out."
        )
    # Without results beside them they are no pictures of an earlier run.
    if any(images.iterdir()) and not target.exists() and not is_unfinished(target):
        raise UsageError(
            f"Pictures would be written to {images}, which has other files: choose another --out, "
            "or empty that folder first."
        )


def request_of(
    model: Predicting, sources: Sequence[Source], options: PredictOptions
) -> dict[str, Any]:
    """Return what determines the results, as JSON has it: a stopped run continues with the same."""
    return {
        "model": [model.name, model.source, _weights(model)],
        "--backend": getattr(model, "backend", ""),
        # Not the names themselves: it is saved every second, also for a million images.
        "sources": _digest([one.name for one in sources]),
        "--min-score": options.min_score,
        "--track": options.track,
        "--smooth": options.smooth,
        "--batch-size": options.batch_size,
        "--strict": options.strict,
    }


def _weights(model: Predicting) -> str:
    """Return the SHA-256 of a model's weights: a run folder that was trained on has others."""
    from posebench.engine import Model, provenance_of

    file = model.checkpoint.weights_file if isinstance(model, Model) else None
    return provenance_of(weights=file).weights


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()


def picture_names_of(sources: Sequence[Source]) -> dict[Source, Path]:
    """Return the picture of each image, and the folder of pictures of each other source."""
    from posebench.data.frames import picture_folders
    from posebench.data.image_sources import picture_names

    images = [one for one in sources if one.kind == "image"]
    moving = [one for one in sources if one.kind != "image"]
    names = picture_names([one.image for one in images], ".jpg")
    return dict(zip([*images, *moving], [*names, *picture_folders(moving)], strict=True))


def image_ids(sources: Sequence[Source]) -> Callable[[str, int], int]:
    """Return what gives images their ids in COCO results.

    It is the number that an image is called by, as in COCO (000000000139.jpg), where all are called
    by different ones; else images and frames are numbered from 1.
    """
    stems = [one.path.stem for one in sources if one.kind == "image"]
    numbers = {int(stem) for stem in stems if stem.isascii() and stem.isdigit()}
    if len(numbers) == len(sources):
        return lambda name, before: int(Path(name).stem)
    return lambda name, before: before + 1
