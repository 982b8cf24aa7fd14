"""The images that `posebench viz` draws, and the annotated people of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posebench.cli.common import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from posebench.skeleton import Skeleton
    from posebench.structures import Poses, Sample

_EXAMPLES = 3  # names in a notice


class Reading:
    """Reads images, and the annotated people of each."""

    def __init__(self, paths: Sequence[Path], *, upright: bool) -> None:
        self.paths = paths
        self._upright = upright
        self._truth: dict[Path, Sample] = {}  # by the path of the image
        self._of_other_size: list[Path] = []
        self._several_frames: list[Path] = []

    def add_truth(self, file: Path, skeleton: Skeleton, category: Sequence[str] = ()) -> None:
        """Read the annotated people and say which images have none."""
        from posebench.data.image_sources import match_names

        samples = _annotated_people(file, skeleton, category)
        matches = match_names(self.paths, [sample.name for sample in samples])
        pairs = [(p, m) for p, m in zip(self.paths, matches, strict=True) if m is not None]
        self._truth = {path: samples[match.index] for path, match in pairs}
        missed = [path for path in self.paths if path not in self._truth]
        if missed:
            say(
                f"No annotations in {file} for {len(missed)} of {len(self.paths)} images "
                f"({named(missed)}): it names images such as {samples[0].name}."
            )
        loose = [path for path, match in pairs if not match.whole]
        if loose:
            say(
                f"{len(loose)} images match {file} by the end of their path only, such as "
                f"{loose[0]} and {self._truth[loose[0]].name}."
            )

    def pixels(self, path: Path) -> NDArray[np.uint8]:
        """Return an image in the orientation that its annotations are for; threads may call this.

        Raises:
            DataError: the image cannot be read.
        """
        from posebench.data.image_files import read_image

        known = self._truth.get(path)
        image = read_image(path, upright=self._upright)
        if known and self._upright and known.size != _size(image):
            stored = read_image(path)
            return stored if _size(stored) == known.size else image
        return image

    def truth(self, path: Path, image: NDArray[np.uint8]) -> Poses | None:
        """Return the annotated people of an image, if they are for an image of its size."""
        from posebench.data.image_files import count_frames

        known = self._truth.get(path)
        if count_frames(path) > 1:
            self._several_frames.append(path)
        if known and known.size != _size(image):
            self._of_other_size.append(path)
            return None
        return known.poses if known else None

    def report(self) -> None:
        """Say what was left out."""
        several, other = self._several_frames, self._of_other_size
        if several:
            say(
                f"Only the first frame or page of {named(several)} is drawn. An animated picture "
                "becomes a video when it is drawn alone."
            )
        if other:
            say(
                f"The annotations of {len(other)} images are for another size, and not drawn: "
                f"{named(other)}."
            )


def _size(image: NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def named(paths: Sequence[Path]) -> str:
    names = ", ".join(map(str, paths[:_EXAMPLES]))
    return names if len(paths) <= _EXAMPLES else f"{names}, ..."


def _annotated_people(
    annotations: Path, skeleton: Skeleton, category: Sequence[str]
) -> list[Sample]:
    """Return the annotated people of each image in an annotation file, without pixels."""
    from posebench.data.annotations import read_annotations
    from posebench.data.annotations.options import ReadOptions
    from posebench.data.base import FileDataset
    from posebench.structures import Protocol

    # Areas are not drawn, so files without areas are accepted too.
    protocol = Protocol(skeleton, area_of_box=1.0)
    parsed = read_annotations(annotations, protocol, ReadOptions(category=tuple(category)))
    dataset = FileDataset("", "", protocol, annotations.parent, parsed)
    return [dataset.load(index, pixels=False) for index in range(len(dataset))]
