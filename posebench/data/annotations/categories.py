"""Which annotations have the keypoints, and in which order: what a file's `categories` tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from posebench.data.annotations import rules
from posebench.data.annotations.options import ReadOptions
from posebench.data.annotations.rules import Report
from posebench.errors import DataError, UsageError, unknown_name
from posebench.skeleton import (
    Pairs,
    Skeleton,
    built_in_of,
    canonical_name,
    named_skeletons,
    skeleton_from_table,
)
from posebench.toml_tables import Table


@dataclass(frozen=True)
class Chosen:
    """The categories whose annotations are read, and how their keypoints become a skeleton's."""

    skeleton: Skeleton
    names: tuple[str, ...]
    # As the file has them; empty: all annotations, since the file does not tell categories.
    ids: tuple[Any, ...]
    columns: tuple[int, ...]  # which of the file's keypoints each of the skeleton's is
    # How many keypoints an annotation has in the file; 0: more than are selected, as it shows.
    file_keypoints: int
    others: dict[Any, str]  # id -> name of the other categories


@dataclass(frozen=True)
class _Category:
    id: Any
    name: str
    keypoints: tuple[str, ...]
    limbs: list[Any]


def choose(
    categories: list[Any] | None,
    wanted: Skeleton | None,
    options: ReadOptions,
    path: Path,
    report: Report,
    *,
    spare: Skeleton | None = None,
    name: str = "",
) -> Chosen:
    """Return the categories to read.

    Args:
        categories: the file's list; None: it has none.
        wanted: the expected keypoint set; None: the file's own.
        options: names the category, or selects keypoints.
        path: for messages.
        report: takes what is worth saying.
        spare: the keypoints of a file that does not name its own.
        name: of a keypoint set that is the file's own; empty: the file's name.

    Raises:
        DataError: no category has keypoints, several have different ones, or other ones than the
            expected.
        UsageError: there is no such category.
    """
    listed = _listed(categories, wanted, options, path)
    chosen = _named(listed, options, path) if options.category else _with_keypoints(listed, path)
    own = chosen[0].keypoints if chosen else ()
    if own and options.select:
        picked = _selected(own, options.select, path)
        own_names = tuple(own[k] for k in picked)
    else:
        picked, own_names = tuple(range(len(own))), own
    if wanted is None and not own:
        wanted = spare
    if wanted is None:
        if not own:
            raise DataError(
                f"{path} does not name its keypoints: say which they are with --skeleton "
                f"({', '.join(named_skeletons())} or a TOML file), or in a dataset.toml."
            )
        wanted = skeleton_of(own_names, chosen[0].limbs, name or path.stem, report)
    if own and not _by_number(own_names, wanted, options, report):
        columns = tuple(picked[k] for k in _columns(own_names, wanted, path, report))
    elif own:
        columns = picked
    else:
        columns = _given(options.select, len(wanted), path)
    ids = tuple(category.id for category in chosen)
    return Chosen(
        wanted,
        tuple(category.name for category in chosen) or ("person",),
        ids,
        columns,
        len(own) or (0 if options.select else len(wanted)),
        {c.id: c.name for c in listed if c.id not in ids},
    )


def _listed(
    categories: list[Any] | None, wanted: Skeleton | None, options: ReadOptions, path: Path
) -> list[_Category]:
    # Names of `keypoints` are not those of another field, if it is known which these are.
    unnamed = options.keypoints_field != "keypoints" and wanted is not None
    listed = []
    for record in categories or ():
        if not isinstance(record, dict) or not isinstance(record.get("id"), int | float | str):
            raise DataError(
                f"Expected objects with an id as the categories of {path}, but found "
                f"{str(record)[:60]}. Correct the file."
            )
        names = record.get(options.keypoints_field)
        if names is None and not unnamed:
            names = record.get("keypoints")
        names = names or []
        limbs = record.get("skeleton") or []
        keypoints = tuple(map(str, names)) if isinstance(names, list) else ()
        times = Counter(keypoints)
        for keypoint, count in times.items():
            if count > 1 or not keypoint.strip():
                raise DataError(
                    f"Expected different names of keypoints in the category "
                    f"{record.get('name', record['id'])!r} of {path}, but found {keypoint!r} "
                    f"{count} times. Rename them."
                )
        listed.append(
            _Category(
                category_key(record["id"]),
                str(record.get("name", record["id"])),
                keypoints,
                limbs if isinstance(limbs, list) else [],
            )
        )
    return listed


def category_key(value: Any) -> Any:
    """Return a category id as it is compared: "1", 1 and 1.0 are equal."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _named(listed: list[_Category], options: ReadOptions, path: Path) -> list[_Category]:
    if not listed:  # only ids can be told apart
        return [_Category(category_key(one), str(one), (), []) for one in options.category]
    chosen = []
    for wanted in options.category:
        found = [c for c in listed if c.name == wanted or c.id == category_key(wanted)]
        if not found:
            raise unknown_name(f"category of {path}", str(wanted), [c.name for c in listed])
        chosen += found
    _check_equal(chosen, path)
    return chosen


def _with_keypoints(listed: list[_Category], path: Path) -> list[_Category]:
    chosen = [category for category in listed if category.keypoints]
    if chosen:
        _check_equal(chosen, path)
        return chosen
    # Minimal files list a category without its keypoints.
    people = (
        [c for c in listed if canonical_name(c.name) == "person"] if len(listed) > 1 else listed
    )
    if listed and not people:
        raise DataError(
            f"None of the categories of {path} lists keypoints: {_some(c.name for c in listed)}. "
            "Choose the one whose annotations have them with --category."
        )
    return people


def _some(names: Iterable[str]) -> str:
    first = list(islice(names, 6))
    return ", ".join(first[:5]) + (", ..." if len(first) > 5 else "")


def _check_equal(chosen: list[_Category], path: Path) -> None:
    first = chosen[0]
    for other in chosen[1:]:
        if list(map(canonical_name, other.keypoints)) != list(map(canonical_name, first.keypoints)):
            found = "; ".join(f"{c.name}: {len(c.keypoints)} keypoints" for c in chosen)
            raise DataError(
                f"Expected one set of keypoints in {path}, but its categories have different ones "
                f"({found}): choose one with --category, or with `category` in a dataset.toml."
            )


def _selected(own: tuple[str, ...], select: tuple[str | int, ...], path: Path) -> tuple[int, ...]:
    picked = []
    for one in select:
        if isinstance(one, int):
            if not 0 <= one < len(own):
                raise DataError(
                    f"Expected keypoints 0 to {len(own) - 1} of {path} in select, but found {one}."
                )
            picked.append(one)
        elif one in own:
            picked.append(own.index(one))
        else:
            raise unknown_name(f"keypoint in {path}", one, own)
    return tuple(picked)


def _by_number(
    own: tuple[str, ...], wanted: Skeleton, options: ReadOptions, report: Report
) -> bool:
    """Return whether keypoints are those that `select` counts, whatever the file calls them.

    Names that are those of other keypoints of the skeleton say that the numbers are wrong.
    """
    if not options.select or not all(isinstance(one, int) for one in options.select):
        return False
    names = [canonical_name(name) for name in wanted.keypoints]
    if len(own) != len(names):
        return False
    other = [
        (name, given)
        for given, name, canonical in zip(own, wanted.keypoints, names, strict=True)
        if canonical_name(given) != canonical
    ]
    if not other or any(canonical_name(given) in names for _, given in other):
        return False
    for name, given in other:
        report.note(rules.UNKNOWN_NAME, f"{given} is {name}")
    return True


def _given(select: tuple[str | int, ...], count: int, path: Path) -> tuple[int, ...]:
    """Return the columns where the file does not name its keypoints."""
    if not select:
        return tuple(range(count))
    columns = tuple(one for one in select if isinstance(one, int))
    if len(columns) < len(select):
        raise UsageError(
            f"{path} does not name its keypoints: select them by their numbers, counted from 0."
        )
    if len(columns) != count:
        raise UsageError(f"select names {len(columns)} keypoints, but the skeleton has {count}.")
    return columns


def skeleton_of(
    keypoints: tuple[str, ...], limbs: list[Any], name: str, report: Report
) -> Skeleton:
    """Return the built-in skeleton of these names, or else one of the file's own."""
    skeleton = built_in_of(keypoints)
    if skeleton is not None:
        return skeleton
    table = Table({"keypoints": list(keypoints)}, f"the keypoints of {name}")
    return skeleton_from_table(table, name, limbs=limbs_of(limbs, len(keypoints), report))


def limbs_of(rows: list[Any], count: int, report: Report) -> Pairs:
    """Return a file's `skeleton` as pairs of indices from 0.

    It counts from 1 by COCO's rule; a 0 in it shows that it counts from 0.
    """
    pairs = [
        (int(row[0]), int(row[1]))
        for row in rows
        if isinstance(row, list) and len(row) == 2 and all(isinstance(k, int | float) for k in row)
    ]
    zero_based = any(0 in pair for pair in pairs)
    if zero_based:
        report.note(rules.ZERO_BASED, "0 occurs in it")
    first = 0 if zero_based else 1
    moved = [(start - first, end - first) for start, end in pairs]
    known = tuple(p for p in moved if min(p) >= 0 and max(p) < count and p[0] != p[1])
    for pair in moved:
        if pair not in known:
            report.note(rules.LIMBS_UNFIT, f"{pair[0] + first}-{pair[1] + first}")
    return tuple(dict.fromkeys(known))


def _columns(own: tuple[str, ...], wanted: Skeleton, path: Path, report: Report) -> tuple[int, ...]:
    """Return the place of each of the skeleton's keypoints among the file's.

    Raises:
        DataError: the file has other keypoints.
    """
    place = {canonical_name(name): k for k, name in enumerate(own)}
    names = [canonical_name(name) for name in wanted.keypoints]
    if set(names) == set(place):
        columns = tuple(place[name] for name in names)
        if columns != tuple(range(len(names))):
            report.note(rules.BY_NAME, f"{own[0]}, {own[1] if len(own) > 1 else ''}, ...")
        for name, k in zip(wanted.keypoints, columns, strict=True):
            if own[k] != name:
                report.note(rules.UNKNOWN_NAME, f"{own[k]} is {name}")
        return columns
    raise DataError(
        f"Expected the {len(wanted)} keypoints of {wanted.name} ({', '.join(wanted.keypoints)}) in "
        f"{path}, but it has {len(own)} ({', '.join(own)}). Read the file with its own keypoints "
        f"(--dataset {path}), or choose some of them with `select` in a dataset.toml."
    )
