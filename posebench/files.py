"""Reading and writing files: JSON with clear errors, and writes that are never half-done.

Annotation files (`data`) and result files (`metrics`) are read through here.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from posebench.errors import DataError, PosebenchError

Floats = NDArray[np.float64]

# COCO's category_id of people. Other categories have other keypoints, or none.
PERSON = 1


def cache_folder() -> Path:
    """Return the cache folder: `$POSEBENCH_CACHE`, or `posebench` in the user's cache folder."""
    named = os.environ.get("POSEBENCH_CACHE")
    if named:
        return Path(named)
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "posebench"


# What Windows editors write in front of text.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, kind: str) -> bytes:
    """Return the content of a text file as UTF-8 without a byte-order mark.

    Args:
        path: the file.
        kind: what the file should be, with an article, for messages: "an annotation file".

    Raises:
        DataError: the file is missing or cannot be read.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise DataError(f"Expected {kind} at {path}, but found {found} there. Check the path.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"Expected {kind} at {path}, but it cannot be read: {error}.") from error
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace").encode()
    return content


def read_json(path: Path, kind: str) -> Any:
    """Return the content of a JSON file; `kind` as for `read_text`.

    Raises:
        DataError: the file is missing, cannot be read, or is not (or only partly) JSON.
    """
    return parse_json(read_text(path, kind), path, kind)


def parse_json(content: bytes, path: Path, kind: str) -> Any:
    """Return the value that JSON text stands for; `path` and `kind` are for messages.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        raise DataError(
            f"Expected {kind} in JSON at {path}, but byte {error.start} is not text. "
            "If the file is compressed (zip, gz), unpack it first."
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(f"Expected {kind} in JSON at {path}, but {_where(error)}") from error
    except RecursionError as error:
        raise DataError(
            f"Expected {kind} in JSON at {path}, but it is nested too deeply to be one. "
            "Check the path."
        ) from error


def _where(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos :].strip()
    if error.msg == "Extra data" and error.doc[: error.pos].rstrip().endswith("}"):
        return (
            f"a second value begins at line {error.lineno}: it looks like JSON lines, an object in "
            "each line. Put them into one list: [, commas between them, ]."
        )
    # An unterminated string is reported where it begins, not where the file ends.
    if not rest or error.msg.startswith("Unterminated string"):
        return (
            f"it is cut short: it has {len(error.doc)} characters, and the part that begins at "
            f"character {error.pos} never ends. Copy or download it again."
        )
    return (
        f"at line {error.lineno}, column {error.colno} (character {error.pos} of "
        f"{len(error.doc)}) there is {rest[:20]!r}: {error.msg}. Correct or replace the file."
    )


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically.

    Raises:
        DataError: `value` contains NaN or infinity, which JSON does not have.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise DataError(
            f"Expected finite numbers for {path}, but found NaN or infinity. "
            "A model that predicts them has diverged: use an earlier checkpoint."
        ) from error
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")


def check_writable(path: Path, kind: Literal["file", "folder", "either"] = "file") -> None:
    """Check that an output can be written, before what it will hold is computed; nothing is made.

    Args:
        path: the file or folder, which need not exist, nor the folders around it.
        kind: what is to be written there; a folder gets files.

    Raises:
        PosebenchError: it cannot be written.
    """
    if kind == "file" and path.is_dir():
        raise PosebenchError(f"{path} cannot be written (it is a folder): name a file in it.")
    if kind == "folder" and path.exists() and not path.is_dir():
        raise PosebenchError(f"{path} cannot be written (it is a file): name a folder.")
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> PosebenchError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return PosebenchError(
        f"{path} cannot be written ({error.strerror or error}): "
        + ("free some space on its disk." if full else "choose another folder.")
    )


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success the file there is renamed to `path`.

    A kill or a full disk never leaves a half-written file at `path`.

    Raises:
        PosebenchError: the folder or the file cannot be written.
    """
    # The suffix is kept, since writers choose the format by it.
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _unchecked(rows: Sequence[Any] | Floats, width: int) -> Sequence[Any] | Floats:
    """Return the rows whose length is still to be checked: all, or none of an array."""
    return rows[:0] if isinstance(rows, np.ndarray) and rows.shape[1:] == (width,) else rows


def finite_rows(
    rows: Sequence[Any] | Floats, width: int, what: str, owner: Callable[[int], str]
) -> Floats:
    """Return lists of numbers as one array; checking 262,000 lists takes a second.

    Args:
        rows: N lists of `width` numbers, or an array.
        width: number of values that each should have.
        what: what the lists are, for messages: "bbox".
        owner: returns the owner of list i, for messages: "annotation 5 (image 139) in val.json".

    Returns:
        (N, width)

    Raises:
        DataError: a list has another length, or contains anything but finite numbers.
    """
    for index, row in enumerate(_unchecked(rows, width)):
        found = len(row) if hasattr(row, "__len__") else None
        if found != width:
            raise DataError(
                f"Expected {width} numbers in {what} of {owner(index)}, "
                f"but found {repr(row)[:40] if found is None else found}. Correct or remove it."
            )
    try:
        array = np.asarray(rows).reshape(len(rows), width)
    except ValueError:  # nested lists
        array = np.array([None])
    if len(rows) and array.dtype.kind not in "iuf":  # text, null or lists among the numbers
        for index, row in enumerate(rows):
            for value in row:
                if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                    raise DataError(
                        f"Expected numbers in {what} of {owner(index)}, but found {value!r}. "
                        "Correct or remove it."
                    )
    numbers = array.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.all():
        index, column = np.argwhere(~finite)[0]
        raise DataError(
            f"Expected finite numbers in {what} of {owner(int(index))}, "
            f"but found {numbers[index, column]} at position {column}. Correct or remove it."
        )
    return numbers


def keypoint_rows(
    rows: Sequence[Any] | Floats, names: Sequence[str], owner: Callable[[int], str]
) -> Floats:
    """Return flat keypoint lists x, y, v, x, y, v, ... as one array.

    Args:
        rows: N lists of 3 K numbers, or an array.
        names: of the K keypoints.
        owner: as for `finite_rows`.

    Returns:
        (N, K, 3)

    Raises:
        DataError: as for `finite_rows`; the message counts keypoints.
    """
    for index, row in enumerate(_unchecked(rows, 3 * len(names))):
        found = len(row) / 3 if hasattr(row, "__len__") else 0
        if found != len(names):
            raise DataError(
                f"Expected {len(names)} keypoints ({names[0]}, {names[1]}, ...) in {owner(index)}, "
                f"but found {found:g}. Is the file for another keypoint set?"
            )
    return finite_rows(rows, 3 * len(names), "keypoints", owner).reshape(-1, len(names), 3)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, which is read again only once it has changed."""
    status = path.stat()
    return _sha256(path.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
