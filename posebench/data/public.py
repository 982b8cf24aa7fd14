"""Public datasets that come with the package as descriptions, read by the code for users' own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.data.described import DescribedLayout, protocol_of, read_description
from posebench.data.layout import SplitFiles, data_root
from posebench.skeleton import Skeleton

if TYPE_CHECKING:
    from posebench.data.base import FileDataset

_FOLDER = Path(__file__).parents[1] / "datasets"


@dataclass(frozen=True)
class PublicLayout(DescribedLayout):
    """A dataset of the package that is found by its name, below the data root."""

    @property
    def reference(self) -> str:
        return self.name

    @property
    def folder_name(self) -> str:
        return self.root

    def files_in(self, folder: Path | None = None) -> dict[str, SplitFiles]:
        """Return the files of the splits whose annotations are in the dataset's folder.

        None: the folder of the dataset below `data_root`.
        """
        located = self.located(folder or data_root(None) / self.root)
        return {
            split: files
            for split, files in located.items()
            if all(path.is_file() for path in files.annotations)
        }

    def open(
        self,
        root: Path | None,
        split: str,
        annotations: Path | None = None,
        skeleton: Skeleton | None = None,
    ) -> FileDataset:
        folder = self.folder(data_root(root), split, needed=annotations is None)
        for path in self.located(folder)[split].annotations if annotations is None else ():
            self.file(path)
        return super().open(folder, split, annotations, skeleton)


def public_layouts() -> list[PublicLayout]:
    """Return the public datasets of the package, by name."""
    return [_read(path) for path in sorted(_FOLDER.glob("*.toml"))]


def _read(path: Path) -> PublicLayout:
    layout = read_description(path, reserved=())
    assert layout.keypoints is not None
    values = {one.name: getattr(layout, one.name) for one in fields(layout)}
    values["protocols"] = (protocol_of(layout.kind, layout.keypoints, separate=layout.separate),)
    return PublicLayout(**values)
