"""Annotations that were read before, kept as files of arrays beside the user's other caches.

They are found by the content of the annotation file, by how it is read and by the code that reads
it, so that nothing else than the file itself is ever returned. Processes that open the same arrays
share their memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from posebench.data.annotations import rules
from posebench.data.annotations.options import ReadOptions
from posebench.data.annotations.rules import Finding, Rule
from posebench.files import cache_folder
from posebench.ground_truth import ARRAYS, GroundTruth, Texts
from posebench.skeleton import Skeleton, skeleton_from_table, skeleton_table
from posebench.toml_tables import Table

_SMALLEST_FILE = 2**20  # bytes; a smaller file is read in no time
_LARGEST_NUMBER = 8  # files that are kept; the one that was not used for longest goes first

Kept = tuple[GroundTruth, list[Finding]]


def read_kept(
    path: Path,
    skeletons: tuple[Skeleton | None, Skeleton | None],
    options: ReadOptions,
    name: str,
    read: Callable[[], Kept],
    reader: str = "",
) -> Kept:
    """Return what was read from a file before, else read it and keep that.

    Args:
        path: the annotation file.
        skeletons: the expected keypoints, and those of a file that does not name its own.
        options: how the file is read.
        name: of keypoints that are the file's own; empty: the file's name.
        read: reads it.
        reader: its name.
    """
    try:
        if path.stat().st_size < _SMALLEST_FILE:
            return read()
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return read()  # which says what is wrong
    tables = [one and (one.name, skeleton_table(one)) for one in skeletons]
    how = f"{content} {_code()} {tables} {options} {name or path.stem} {reader}"
    folder = cache_folder() / "annotations" / hashlib.sha256(how.encode()).hexdigest()[:24]
    with suppress(OSError, ValueError, KeyError, EOFError):  # not there yet, or damaged
        return _load(folder)
    found = read()
    with suppress(OSError):  # an unwritable home costs time, not the answer
        _save(folder, *found)
        _forget_old(folder.parent)
    return found


def _load(folder: Path) -> Kept:
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    arrays: dict[str, Any] = {}
    for name in ARRAYS:
        if name in facts["texts"]:
            arrays[name] = Texts(
                _array(folder / f"{name}.npy"), _array(folder / f"{name}.ends.npy")
            )
        elif name in facts["arrays"]:
            arrays[name] = _array(folder / f"{name}.npy")
    table = Table(facts["skeleton"]["table"], str(folder))
    truth = GroundTruth(
        skeleton_from_table(table, facts["skeleton"]["name"]),
        **arrays,
        categories=tuple(facts["categories"]),
        category_ids=tuple(facts["category_ids"]),
        annotated=facts["annotated"],
    )
    known = {rule.name: rule for rule in vars(rules).values() if isinstance(rule, Rule)}
    findings = [Finding(known[name], count, seen) for name, count, seen in facts["findings"]]
    os.utime(folder)
    return truth, findings


def _array(path: Path) -> np.ndarray[Any, Any]:
    # As a plain array: each piece of a memmap object would be one too.
    return np.asarray(np.load(path, mmap_mode="r"))


def _save(folder: Path, truth: GroundTruth, findings: list[Finding]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
    try:
        texts, arrays = [], []
        for name in ARRAYS:
            value = getattr(truth, name)
            if isinstance(value, Texts):
                np.save(beside / f"{name}.npy", value.content)
                np.save(beside / f"{name}.ends.npy", value.ends)
                texts.append(name)
            elif value is not None:
                np.save(beside / f"{name}.npy", value)
                arrays.append(name)
        facts = {
            "texts": texts,
            "arrays": arrays,
            "skeleton": {"name": truth.skeleton.name, "table": skeleton_table(truth.skeleton)},
            "categories": truth.categories,
            "category_ids": truth.category_ids,
            "annotated": truth.annotated,
            "findings": [(f.rule.name, f.count, f.examples) for f in findings],
        }
        (beside / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _forget_old(folder: Path) -> None:
    kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in kept[_LARGEST_NUMBER:]:
        shutil.rmtree(old, ignore_errors=True)


@cache
def _code() -> str:
    """Return a hash of the code that reads annotations."""
    root = Path(__file__).parents[2]
    state = hashlib.sha256()
    for path in (
        *sorted(Path(__file__).parent.glob("*.py")),
        root / "data" / "aic.py",
        root / "ground_truth.py",
        root / "skeleton.py",
    ):
        state.update(path.read_bytes())
    return state.hexdigest()[:16]
