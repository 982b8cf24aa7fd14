"""How a dataset lies on disk, and what to say where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posebench.errors import DataError, unknown_name
from posebench.files import read_json
from posebench.structures import Skeleton


def read_as_it_is(path: Path) -> Any:
    """Return an annotation file that is in COCO's format."""
    return read_json(path, "an annotation file")


@dataclass(frozen=True)
class Layout:
    """A dataset's name, splits and place below the data root."""

    name: str
    skeletons: tuple[Skeleton, ...]  # keypoint sets that it comes in
    splits: tuple[str, ...]
    train_split: str
    eval_split: str
    tree: str  # what must be there, as shell patterns below the data root
    source: str  # where to get it
    annotations: str = ""  # the file of a {split}, below the dataset's folder
    images: str = ""  # the folder of a {split}'s images, below the dataset's folder
    read: Callable[[Path], Any] = read_as_it_is  # an annotation file, in COCO's format
    sizes: bool = True  # annotation files tell the sizes of images

    def folder(self, root: Path, split: str, *, needed: bool) -> Path:
        """Return the dataset's folder below the root.

        Raises:
            UsageError: no such split.
            DataError: no such folder, and it is `needed`.
        """
        if split not in self.splits:
            raise unknown_name(f"split of {self.name}", split, self.splits)
        folder = root / self.name
        if needed and not folder.is_dir():
            raise DataError(
                f"The folder {folder} is not there: get {self.name} from {self.source}, lay it out "
                f"as {self.tree}, and name the folder that holds {self.name}/ with --data-root."
            )
        return folder

    def file(self, path: Path) -> Path:
        """Return the path of a file that the layout promises.

        Raises:
            DataError: it is not there.
        """
        if not path.is_file():
            raise DataError(
                f"The file {path} is not there: {self.name} is expected as {self.tree}; "
                "choose another --split, or name a file with --annotations."
            )
        return path
