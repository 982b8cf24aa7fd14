"""What the user named: images, films, cameras and streams, in their order."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posebench.data.image_sources import SourceImage, absolute, files_of, real, repeated
from posebench.data.video import is_camera, is_film_name, is_video
from posebench.errors import DataError

Kind = Literal["image", "video", "camera", "stream"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")  # also of a password with an @
# Parameters of an address by which cameras are told who asks.
_SECRET = re.compile(
    r"(?<=[?&])([^=&#]*(?:user|login|pass|pwd|token|key|auth|secret|sig)[^=&#]*)=[^&#\s]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Source:
    """An image, a film, a camera or a stream."""

    kind: Kind
    address: str  # a path, the number of a camera, or an address with its protocol
    base: Path = Path()  # the folder below which the sub-folders of a file are kept in the output

    @property
    def name(self) -> str:
        """The address as it is shown and written: without users, passwords and tokens."""
        if self.kind != "stream":
            return self.address
        return _SECRET.sub(r"\1=...", _LOGIN.sub("", self.address))

    @property
    def path(self) -> Path:
        return Path(self.address)

    @property
    def image(self) -> SourceImage:
        """The file, for the name of its picture."""
        return SourceImage(self.path, self.base)


def collect_sources(
    sources: Sequence[str], *, recursive: bool = False, excluded: Sequence[Path] = ()
) -> list[Source]:
    """Return all that the sources name in their order, each once.

    Args:
        sources: files of images and films, folders of them, patterns with `*`, `?`, `[...]` and
            `**`, `.txt` files with a path in each line, numbers of cameras, and addresses such as
            `rtsp://...` and `http://...`.
        recursive: also take the files in sub-folders, except hidden ones.
        excluded: folders whose files are left out of the folders and patterns that hold them.

    Raises:
        DataError: a source has neither images nor films, or a list cannot be read.
    """
    collected: dict[str | Path, Source] = {}
    for source in sources:
        for one in _sources_of(source, recursive=recursive, excluded=excluded):
            is_file = one.kind in ("image", "video")
            collected.setdefault(real(one.path) if is_file else one.address, one)
    if not collected:
        raise DataError(
            f"All images of {' '.join(sources)} lie in the folder of the results: choose another."
        )
    return list(collected.values())


def picture_folders(sources: Sequence[Source]) -> list[Path]:
    """Return a relative folder for the pictures of each film, camera or stream, no two the same.

    Films keep the sub-folders below their base; those that are still called alike get a number.
    """
    folders = [_folder(source) for source in sources]
    for same in repeated(folders):
        for number, i in enumerate(same[1:], start=2):
            folders[i] = folders[i].with_name(f"{folders[i].name}-{number}")
    return folders


def _folder(source: Source) -> Path:
    if source.kind == "camera":
        return Path(f"camera{source.name}")
    if source.kind == "stream":
        last = re.split(r"[?#]", source.name)[0].rstrip("/").rpartition("/")[2]
        return Path(re.sub(r"[^\w.-]", "_", last).lstrip(".") or "stream")
    return absolute(source.path).relative_to(absolute(source.base))


def _sources_of(source: str, *, recursive: bool, excluded: Sequence[Path]) -> Iterator[Source]:
    if _ADDRESS.match(source):
        yield Source("stream", source)
    elif is_camera(source):
        yield Source("camera", source)
    elif Path(source).is_file() and is_video(source):  # also an animated picture, named itself
        yield Source("video", source, Path(source).parent)
    elif is_film_name(Path(source)) and not Path(source).exists() and not glob.has_magic(source):
        raise DataError(f"The video {source} is not there: check the path.")
    else:
        for file in files_of(source, recursive=recursive, excluded=excluded, films=True):
            kind: Kind = "video" if is_film_name(file.path) else "image"
            yield Source(kind, str(file.path), file.base)
