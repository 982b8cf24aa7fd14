"""The first images of a dataset, for a quick look."""

from __future__ import annotations

from collections.abc import Mapping

from posebench.data.base import PoseDataset
from posebench.errors import UsageError
from posebench.ground_truth import GroundTruth
from posebench.structures import Sample


class FirstImages(PoseDataset):
    """The first images of a split, in the order of its annotation file.

    The split is called `val[:100]`, so results on it are not taken for results on the whole.
    """

    def __init__(self, dataset: PoseDataset, count: int) -> None:
        """Limit a dataset.

        Raises:
            UsageError: the number of images is not above 0.
        """
        if count < 1:
            raise UsageError(f"The limit is the number of images, at least 1, not {count}.")
        self.name = dataset.name
        self.skeleton, self.protocol = dataset.skeleton, dataset.protocol
        self.submission = dataset.submission
        self.seed = dataset.seed
        self._dataset = dataset
        self._count = min(count, len(dataset))
        self.split = f"{dataset.split}[:{count}]" if count < len(dataset) else dataset.split

    @property
    def reference(self) -> str:
        return self._dataset.reference

    @property
    def facts(self) -> Mapping[str, str]:
        return self._dataset.facts

    def __len__(self) -> int:
        return self._count

    def load(self, index: int, *, pixels: bool = True) -> Sample:
        if not 0 <= index < self._count:
            raise IndexError(f"Expected an index below {self._count}, but found {index}.")
        return self._dataset.load(index, pixels=pixels)

    def ground_truth(self) -> GroundTruth:
        return self._dataset.ground_truth().select_images(range(self._count))

    def fingerprint(self) -> str:
        return f"first {self._count} of {self._dataset.fingerprint()}"

    def contents(self) -> str:
        return f"first {self._count} of {self._dataset.contents()}"

    def scored_contents(self) -> str:
        return f"first {self._count} of {self._dataset.scored_contents()}"

    def labelled(self) -> list[int]:
        return [index for index in self._dataset.labelled() if index < self._count]
