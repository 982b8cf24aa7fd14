"""Keypoint sets as data: names, mirror pairs, limbs and OKS sigmas.

The built-in ones are files of `skeletons/`, written as users write theirs (docs/datasets.md):
those of the papers, for which there are recipes, and those of further public datasets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from posebench.errors import DataError, UsageError
from posebench.toml_tables import Table

# Of keypoints that no built-in set has, unless a file gives another: between COCO's strictest
# (0.025, eyes) and its loosest (0.107, hips).
DEFAULT_SIGMA = 0.05

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Skeleton:
    """A keypoint set: what a dataset annotates and a model predicts."""

    name: str
    keypoints: tuple[str, ...]
    limbs: Pairs  # pairs of keypoint indices
    sigmas: tuple[float, ...]  # OKS fall-off per keypoint, relative to sqrt(area)
    # Keypoints that `num_keypoints` does not count: a person needs one of the others.
    not_counted: tuple[str, ...] = ()
    # Left and right keypoints that a mirror image swaps; None: not known, so nothing is mirrored.
    pairs: Pairs | None = None
    # Where the sigmas come from, if they are not those of a published evaluation.
    sigmas_from: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def flip_index(self) -> tuple[int, ...]:
        """For each keypoint, the index of its mirror image: left and right are swapped.

        Raises:
            UsageError: the pairs of left and right keypoints are not known.
        """
        if self.pairs is None:
            raise UsageError(
                f"{self.name} cannot be mirrored: {why_unpaired(self.keypoints)} Give `pairs` in "
                "the skeleton of its dataset.toml, or test without flip."
            )
        index = list(range(len(self)))
        for first, second in self.pairs:
            index[first], index[second] = second, first
        return tuple(index)


# ------------------------------------------------------------------------------------------- names

# Words of a name: at blanks and signs, and where small letters are followed by a capital one.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_SIDES = {"left": "left", "right": "right", "l": "left", "r": "right"}
_OTHER = {"left": "right", "right": "left"}


def side_and_part(name: str) -> tuple[str, str]:
    """Split a keypoint's name: `L_Eye`, `eye left`, `leftEye` and `LEye` are ("left", "eye").

    Returns:
        "left", "right" or "" for a name without a side; and the rest in lower case.
    """
    words = [word.lower() for word in _WORDS.findall(_separated(name))]
    places = [place for place, word in enumerate(words) if word in ("left", "right")]
    if not places:  # a single letter counts at either end only
        places = [place for place in {0, len(words) - 1} if words and words[place] in ("l", "r")]
    rest = [word for place, word in enumerate(words) if place not in places]
    # The vertebra L5 is no left five.
    lettered = bool(places) and words[places[0]] in ("l", "r")
    if len(places) != 1 or not rest or (lettered and " ".join(rest).isdigit()):
        return "", " ".join(words)
    return _SIDES[words[places[0]]], " ".join(rest)


def _separated(name: str) -> str:
    """Return a name with a blank after `left` or `right` that is written in one with the part."""
    return re.sub(r"^(left|right)(?=[a-z])|(?<=[a-z])(?=(?:Left|Right|L|R)$)", r"\1 ", name)


def canonical_name(name: str) -> str:
    """Return a name by which keypoints are compared: case, signs and the side's place are equal."""
    side, part = side_and_part(name)
    part = "head" if part in ("head top", "top head") else part  # CrowdPose's head is its top
    return f"{side} {part}".replace(" ", "")


def same_keypoints(first: Skeleton, second: Skeleton) -> bool:
    """Return whether two skeletons have the same keypoints by name, in the same order."""
    names, others = (list(map(canonical_name, one.keypoints)) for one in (first, second))
    return names == others


def pairs_by_name(keypoints: Sequence[str]) -> Pairs | None:
    """Return the pairs of left and right keypoints; None: the names do not tell them."""
    sided, alone = _sides(keypoints)
    return None if alone or not sided else tuple(sided)


def why_unpaired(keypoints: Sequence[str]) -> str:
    """Say in a sentence why the names do not tell left and right."""
    sided, alone = _sides(keypoints)
    if alone:
        other = _OTHER[side_and_part(alone[0])[0]]
        return f"the keypoint {alone[0]!r} has no counterpart on the {other}."
    if not sided:
        return "its keypoints' names do not say which are left and right."
    return "it is declared not to be."


def _sides(keypoints: Sequence[str]) -> tuple[list[tuple[int, int]], list[str]]:
    """Return the pairs, and the names that have a side and no counterpart."""
    split = [side_and_part(name) for name in keypoints]
    index = {sides: k for k, sides in enumerate(split)}
    pairs, alone = [], []
    for k, (side, part) in enumerate(split):
        other = index.get((_OTHER.get(side, ""), part))
        if side and other is None:
            alone.append(keypoints[k])
        elif side == "left" and other is not None:
            pairs.append((k, other))
    return pairs, alone


# ------------------------------------------------------------------------------------------- tables


def skeleton_from_table(
    table: Table,
    name: str,
    *,
    keypoints: tuple[str, ...] | None = None,
    limbs: Pairs | None = None,
) -> Skeleton:
    """Return the skeleton that a table describes.

    Args:
        table: with the keys keypoints, pairs, limbs, sigmas, sigmas_from, not_counted and mirror.
        name: of the skeleton.
        keypoints: names from an annotation file, where the table has none.
        limbs: likewise.

    Raises:
        DataError: a key is missing, unknown, or does not fit the others.
    """
    names = table.texts("keypoints", keypoints)
    _check_names(names, table.where)
    pairs = _named_pairs(table, "pairs", names, pairs_by_name(names))
    joined = _named_pairs(table, "limbs", names, limbs or ())
    sigmas, taken = _sigmas(table, names)
    origin = table.take("sigmas_from", str, "") or taken
    not_counted = table.texts("not_counted", ())
    _check_known(not_counted, names, "not_counted", table.where)
    mirror = table.take("mirror", bool, True)
    table.finish()
    if pairs is not None and len({k for pair in pairs for k in pair}) < 2 * len(pairs):
        raise DataError(
            f"Expected each keypoint in one of the pairs of {table.where} at most, but one is in "
            "two. Correct them."
        )
    return Skeleton(
        name, names, joined or (), sigmas, not_counted, pairs if mirror else None, origin
    )


def _check_names(names: tuple[str, ...], where: str) -> None:
    if not names:
        raise DataError(f"Expected names of keypoints in {where}, but there are none.")
    times = Counter(names)
    for name, count in times.items():
        if not name.strip() or count > 1:
            found = f"{name!r} {count} times" if name.strip() else "an empty one"
            raise DataError(
                f"Expected different names of keypoints in {where}, but found {found}. Rename them."
            )


def _check_known(used: Sequence[str], names: tuple[str, ...], key: str, where: str) -> None:
    for name in used:
        if name not in names:
            raise DataError(
                f"Expected names of keypoints as {key} in {where}, but {name!r} is none of "
                f"{', '.join(names)}. Correct it."
            )


def _named_pairs(
    table: Table, key: str, names: tuple[str, ...], default: Pairs | None
) -> Pairs | None:
    rows = table.take_any(key)
    if rows is None:
        return default
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == 2 and all(isinstance(end, str) for end in row)
        for row in rows
    ):
        raise table.unfit(key, 'a list of pairs of names such as [["left_ear", "right_ear"]]', rows)
    pairs = []
    for first, second in rows:
        _check_known((first, second), names, key, table.where)
        if first == second:
            raise table.unfit(key, "two different keypoints in each pair", [first, second])
        pairs.append((names.index(first), names.index(second)))
    return tuple(pairs)


def _sigmas(table: Table, names: tuple[str, ...]) -> tuple[tuple[float, ...], str]:
    """Return a sigma for each keypoint, and where they come from."""
    given = table.take_any("sigmas", {})
    if isinstance(given, list):
        if len(given) != len(names):
            raise table.unfit("sigmas", f"{len(names)} numbers, one per keypoint", given)
        given = dict(zip(names, given, strict=True))
    elif isinstance(given, int | float) and not isinstance(given, bool):
        given = {"default": given}
    if not isinstance(given, dict):
        raise table.unfit("sigmas", "a number, a list or a table by keypoint", given)
    _check_known([name for name in given if name != "default"], names, "sigmas", table.where)
    for value in given.values():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 0.5:
            raise table.unfit("sigmas", "numbers above 0 and below 0.5", value)
    complete = "default" in given or all(name in given for name in names)
    known = {} if complete else _known_sigmas()
    default = float(given.get("default", DEFAULT_SIGMA))
    sources: Counter[str] = Counter()
    sigmas = []
    for name in names:
        if name in given:
            sigma, source = float(given[name]), "given"
        else:
            sigma, source = known.get(canonical_name(name), (default, f"default {default:g}"))
        sigmas.append(sigma)
        sources[source] += 1
    return tuple(sigmas), ", ".join(
        f"{count} {source}" for source, count in sources.items() if set(sources) != {"given"}
    )


@cache
def _known_sigmas() -> dict[str, tuple[float, str]]:
    """Return the sigmas of the built-in sets by name, COCO's first, with their source."""
    found: dict[str, tuple[float, str]] = {}
    for skeleton, source in ((COCO, "COCO"), (CROWDPOSE, "CrowdPose"), (MPII, "MPII")):
        for name, sigma in zip(skeleton.keypoints, skeleton.sigmas, strict=True):
            found.setdefault(canonical_name(name), (sigma, f"of {source}"))
    return found


def skeleton_table(skeleton: Skeleton) -> dict[str, Any]:
    """Return a skeleton as the table that `skeleton_from_table` reads, in plain values."""

    def named(pairs: Pairs) -> list[list[str]]:
        return [[skeleton.keypoints[first], skeleton.keypoints[second]] for first, second in pairs]

    table: dict[str, Any] = {"keypoints": list(skeleton.keypoints)}
    if skeleton.pairs is None:
        table["mirror"] = False
    else:
        table["pairs"] = named(skeleton.pairs)
    table["limbs"] = named(skeleton.limbs)
    table["sigmas"] = list(skeleton.sigmas)
    if skeleton.sigmas_from:
        table["sigmas_from"] = skeleton.sigmas_from
    if skeleton.not_counted:
        table["not_counted"] = list(skeleton.not_counted)
    return table


def read_skeleton(path: Path) -> Skeleton:
    """Read a skeleton's TOML file; its name is the file's.

    Raises:
        DataError: the file is missing or wrong.
    """
    table = Table.read(path, "a skeleton")
    return skeleton_from_table(table, path.stem)


def _built_in(name: str) -> Skeleton:
    return read_skeleton(Path(__file__).parent / "skeletons" / f"{name}.toml")


COCO = _built_in("coco")
CROWDPOSE = _built_in("crowdpose")
MPII = _built_in("mpii")
SKELETONS = {skeleton.name: skeleton for skeleton in (COCO, CROWDPOSE, MPII)}
# Of further public datasets, which are read when they are first asked for.
FURTHER_SKELETONS = ("aic", "ap10k", "halpe26", "human_art_21")


@cache
def named_skeletons() -> dict[str, Skeleton]:
    """Return all built-in skeletons by name: the papers', then those of further datasets."""
    return SKELETONS | {name: _built_in(name) for name in FURTHER_SKELETONS}


def built_in_of(keypoints: Sequence[str]) -> Skeleton | None:
    """Return the built-in skeleton of these names; None: there is none.

    One in the same order comes first: AI Challenger and CrowdPose have the same names.
    """
    names = [canonical_name(name) for name in keypoints]
    others = {
        one.name: [canonical_name(name) for name in one.keypoints]
        for one in named_skeletons().values()
    }
    for name, own in others.items():
        if own == names:
            return named_skeletons()[name]
    for name, own in others.items():
        if set(own) == set(names):
            return named_skeletons()[name]
    return None
