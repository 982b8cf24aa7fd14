"""Annotation files in other formats than COCO's: how they are recognised and read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.data.aic import read_aic
from posebench.data.mpii import read_mpii
from posebench.skeleton import MPII, Skeleton, named_skeletons

if TYPE_CHECKING:
    from posebench.data.annotations.text import Content

_SNIFFED = 2**16  # bytes at the start of a file, by which it is recognised


@dataclass(frozen=True)
class FileFormat:
    """A format whose files describe people, one set of keypoints for all of them."""

    title: str
    read: Callable[[Path], Content]  # into the lists of COCO's format
    skeleton: str
    kind: str  # of evaluation, as in a dataset.toml
    marks: tuple[bytes, ...]  # fields of which one occurs early in a JSON file
    alone: bool = False  # everything is in the file: MPII's head boxes may lie beside it

    @property
    def keypoints(self) -> Skeleton:
        return named_skeletons()[self.skeleton]


FORMATS = {
    "mpii": FileFormat("MPII", read_mpii, MPII.name, "mpii", (b'"joints_vis"', b'"joints"')),
    "aic": FileFormat(
        "AI Challenger",
        read_aic,
        "aic",
        "oks",
        (b'"keypoint_annotations"', b'"human_annotations"'),
        alone=True,
    ),
}


def format_of(path: Path) -> str | None:
    """Return the name of the format of an annotation file: "coco" or one of `FORMATS`.

    None: it is not recognised, or cannot be read.
    """
    if path.suffix == ".mat":
        return "mpii"
    start = _start(path)
    if start.startswith(b"["):
        for name, known in FORMATS.items():
            if any(mark in start for mark in known.marks):
                return name
    # Cards and other results count their images: there it is no list.
    known_lists = re.search(rb'"(images|annotations)"\s*:\s*\[', start)
    return "coco" if start.startswith(b"{") and known_lists else None


def is_card(path: Path) -> bool:
    """Return whether a file is a model's card (`posebench card`), which may lie beside images."""
    return b'"card_version"' in _start(path)


def _start(path: Path) -> bytes:
    """Return the first bytes of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_SNIFFED).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError:
        return b""
