"""Images named by files, folders, patterns and lists, and the names of pictures made of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from posebench.data.image_files import (
    USUAL_SUFFIXES,
    find_images,
    is_image_name,
    list_files,
)
from posebench.data.video import VIDEO_SUFFIXES, is_film_name
from posebench.errors import DataError

_EXAMPLES = 3  # names in a notice


@dataclass(frozen=True)
class SourceImage:
    """An image file, and the folder below which its sub-folders are kept in the output."""

    path: Path
    base: Path


def collect_images(
    sources: Sequence[str], *, recursive: bool = False, excluded: Sequence[Path] = ()
) -> list[SourceImage]:
    """Return the images of all sources in their order, each once.

    Args:
        sources: image files, folders, patterns with `*`, `?`, `[...]` and `**`, and `.txt` files
            with a path in each line. A file or folder whose name looks like a pattern is taken as
            itself.
        recursive: also take the images in sub-folders, except hidden ones.
        excluded: folders whose images are left out of the folders and patterns that hold them, such
            as that of earlier pictures.

    Raises:
        DataError: a source has no images, or a list cannot be read.
    """
    collected: dict[Path, SourceImage] = {}
    for source in sources:
        for image in files_of(source, recursive=recursive, excluded=excluded):
            collected.setdefault(real(image.path), image)
    if not collected:
        raise DataError(
            f"All images of {' '.join(sources)} lie in the folder of the pictures: choose another."
        )
    return list(collected.values())


def files_of(
    source: str, *, recursive: bool = False, excluded: Sequence[Path] = (), films: bool = False
) -> Iterator[SourceImage]:
    """Yield the images of a file, folder, pattern or list.

    Args:
        source, recursive, excluded: as for `collect_images`.
        films: also yield the films of folders, patterns and lists.

    Raises:
        DataError: there are none, or the list cannot be read.
    """
    barred = [real(folder) for folder in excluded]
    files = _files_of(source, recursive=recursive, films=films)
    if not barred:  # resolving takes a look at each folder of a path, on a network too
        yield from files
        return
    bases = {base: real(base) for base in {file.base for file in files}}
    for file in files:
        path, base = real(file.path), bases[file.base]
        inside = [folder for folder in barred if path.is_relative_to(folder)]
        if all(base.is_relative_to(folder) for folder in inside):
            yield file


def left_out(sources: Sequence[str], *, recursive: bool = False) -> list[str]:
    """Return a sentence for each folder among the sources on its files that are not taken.

    Args:
        sources: as for `collect_images`.
        recursive: whether sub-folders are searched.
    """
    sentences = (_left_out(Path(source), recursive) for source in sources)
    return [sentence for sentence in sentences if sentence]


def _left_out(folder: Path, recursive: bool) -> str:
    if not folder.is_dir():
        return ""
    others = [p for p in list_files(folder, recursive=recursive) if not is_image_name(p)]
    videos = [path for path in others if path.suffix.lower() in VIDEO_SUFFIXES]
    rest = [path for path in others if path.suffix.lower() not in VIDEO_SUFFIXES]
    parts = []
    if videos:
        parts.append(f"{_number(videos, 'video')} ({_examples(videos)}), drawn one at a time")
    if rest:
        are = "is" if len(rest) == 1 else "are"
        parts.append(f"{_number(rest, 'file')} that {are} not an image ({_examples(rest)})")
    return f"Left out of {folder}: {', and '.join(parts)}." if parts else ""


def _number(paths: Sequence[Path], what: str) -> str:
    return f"{len(paths)} {what}{'' if len(paths) == 1 else 's'}"


def _examples(paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths[:_EXAMPLES])
    return names if len(paths) <= _EXAMPLES else f"{names}, ..."


def picture_names(images: Sequence[SourceImage], suffix: str = ".png") -> list[Path]:
    """Return a relative path for the picture of each image, no two the same.

    It is the image's path below its base. Images of the same name in different sources also keep
    the folders in which they differ; `a.jpg` and `a.png` in one folder become `a.jpg.png` and
    `a.png.png`.
    """
    paths = [absolute(image.path) for image in images]
    names = [p.relative_to(absolute(image.base)) for p, image in zip(paths, images, strict=True)]
    for same in repeated([name.with_suffix(suffix) for name in names]):
        shared = os.path.commonpath([paths[i].parent for i in same])
        if any(paths[i].parent != Path(shared) for i in same):
            for i in same:
                names[i] = paths[i].relative_to(shared)
    pictures = [name.with_suffix(suffix) for name in names]
    for same in repeated(pictures):
        for i in same:
            pictures[i] = names[i].with_name(names[i].name + suffix)
    # What is left is rare: an image `a.jpg.png` beside `a.jpg` and `a.png`.
    for same in repeated(pictures):
        for number, i in enumerate(same[1:], start=2):
            pictures[i] = pictures[i].with_name(f"{pictures[i].stem}-{number}{suffix}")
    return pictures


def absolute(path: Path) -> Path:
    """Return an absolute path without `..`; a link is itself, and not what it leads to."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve follows links


def real(path: Path) -> Path:
    """Return where a path's links lead to, also if that is nowhere or in a circle."""
    return Path(os.path.realpath(path))  # Path.resolve raises an error for a circle


def repeated(names: Sequence[Path]) -> list[list[int]]:
    """Return the indices of equal names, upper and lower case being one, for each repeated name."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(str(name).casefold(), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _files_of(source: str, *, recursive: bool, films: bool) -> list[SourceImage]:
    path = Path(source)
    if path.is_file() and path.suffix.lower() == ".txt":
        return _listed(path)
    if path.is_file():
        return [SourceImage(path, path.parent)]
    if not path.exists() and glob.has_magic(source):
        return _matching(source, films=films)
    if films and path.is_dir():
        files = [file for file in list_files(path, recursive=recursive) if _is_wanted(file, films)]
        if files:
            return [SourceImage(file, path) for file in files]
    try:
        return [SourceImage(image, path) for image in find_images(path, recursive=recursive)]
    except DataError as error:
        raise DataError(f"{error} {_left_out(path, recursive)}".rstrip()) from None


def _is_wanted(path: Path, films: bool) -> bool:
    return is_image_name(path) or (films and is_film_name(path))


def _matching(pattern: str, *, films: bool) -> list[SourceImage]:
    # Path.glob takes no absolute patterns, and takes hidden files.
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    files = [path for path in found if _is_wanted(path, films) and path.is_file()]
    if not files:
        what = "image or film" if films else "image"
        raise DataError(
            f"No {what} matches {pattern}: expected files that end in {USUAL_SUFFIXES}."
        )
    parts = Path(pattern).parts[:-1]
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return [SourceImage(file, Path(*parts[:fixed])) for file in files]


def _listed(path: Path) -> list[SourceImage]:
    """Return the images that a list names: by paths from here, else from the list's own folder."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"The list of images {path} cannot be read as text: {error}.") from None
    images = [Path(line) for line in lines if line and not line.startswith("#")]
    if not images:
        raise DataError(f"The list {path} names no images: expected a path in each line.")
    images = [
        path.parent / image if not image.exists() and (path.parent / image).exists() else image
        for image in images
    ]
    base = Path(os.path.commonpath([absolute(image).parent for image in images]))
    return [SourceImage(image, base) for image in images]


@dataclass(frozen=True)
class NameMatch:
    """The name in an annotation file that belongs to an image."""

    index: int  # of the name
    whole: bool  # whether the image's path ends in all of it, and not only in its last parts


def match_names(paths: Sequence[Path], names: Sequence[str]) -> list[NameMatch | None]:
    """Return the name that belongs to each image: that with the longest tail of its path.

    Names may have folders, also with backslashes, that differ from the images' own. An image gets
    None if no name ends like it, if several fit it equally well, or if its name fits another image
    as well or better.
    """
    parts = [_parts(name) for name in names]
    by_last: dict[str, list[int]] = {}
    for index, own in enumerate(parts):
        by_last.setdefault(own[-1] if own else "", []).append(index)
    fits: list[tuple[int, tuple[int, bool]] | None] = []
    for path in paths:
        tail = absolute(path).parts
        ranked = sorted(
            ((_fit(tail, parts[i]), i) for i in by_last.get(path.name, ())), reverse=True
        )
        alone = len(ranked) == 1 or (len(ranked) > 1 and ranked[0][0] > ranked[1][0])
        fits.append((ranked[0][1], ranked[0][0]) if alone else None)
    best: dict[int, list[tuple[int, bool]]] = {}
    for fit in filter(None, fits):
        best.setdefault(fit[0], []).append(fit[1])
    return [
        NameMatch(fit[0], fit[1][1])
        if fit and fit[1] == max(best[fit[0]]) and best[fit[0]].count(fit[1]) == 1
        else None
        for fit in fits
    ]


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]


def _fit(tail: Sequence[str], parts: Sequence[str]) -> tuple[int, bool]:
    """Return how many last parts two paths share, and whether these are all of the second one."""
    shared = 0
    for own, other in zip(reversed(tail), reversed(parts), strict=False):
        if own != other:
            break
        shared += 1
    return shared, shared == len(parts)
