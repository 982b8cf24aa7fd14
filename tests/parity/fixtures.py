"""Where the parity fixtures lie, which cases a set holds, and which network a case belongs to."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parent

Shape = tuple[int, ...]


def parity_roots() -> list[Path]:
    """Return the set of fixtures that is tested, then the other sets, which lend what it lacks.

    Raises:
        NotADirectoryError: `POSEBENCH_PARITY` names no folder; skipping would look like success.
    """
    named = os.environ.get("POSEBENCH_PARITY")
    if named and not Path(named).is_dir():
        raise NotADirectoryError(f"POSEBENCH_PARITY is {named!r}, which is not a folder.")
    shared = _TESTS.parents[2] / "shared" / "parity"
    roots = [Path(named)] if named else []
    return [*roots, *([shared] if shared.is_dir() else []), _TESTS / "data"]


def parity_folder(method: str) -> Path | None:
    """Return the method's fixture folder, or None where there is none."""
    folder = parity_roots()[0] / method
    return folder if folder.is_dir() else None


def cases(method: str, pattern: str) -> list[Path]:
    """Return the method's cases whose path matches, in order of name."""
    folder = parity_folder(method)
    return sorted(folder.glob(pattern)) if folder else []


def find_in_sets(name: str) -> Path:
    """Return a file of the set that is tested or, where it lacks the file, of another set.

    Raises:
        FileNotFoundError: no set has the file.
    """
    roots = parity_roots()
    for root in roots:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(f"There is no {name} in {', '.join(map(str, roots))}.")


def key_file(
    case: Path,
    known: Mapping[str, Shape | None],
    stored: Callable[[Shape], Shape] = lambda shape: shape,
) -> Path:
    """Return the key file (published names and shapes) of the network that a case belongs to.

    The tensors in the case decide, not its name: `loss_train_coco` may be of any width. Among
    networks with the same tensors, the one whose name is part of the case's is returned
    (`swin_l_coco17` for `forward_swinl_coco17`), or else the one with the most words in common
    (`resnet50_coco17` for `forward_r50_coco17_single`). Of equal key files, that of the
    tested set precedes those of other sets: a set may hold cases of a network without its key file.

    Args:
        case: a file in a method's folder.
        known: published names of the network's tensors and their shapes as the case stores them,
            None where the shape is not known.
        stored: how a case stores a tensor: returns the stored shape for the tensor's own.

    Raises:
        FileNotFoundError: no set has a key file of such a network.
    """
    method = case.parent.name
    fitting = [
        # The last number prefers the name with the fewest words that the case's name lacks.
        (
            _letters(keys) in _letters(case),
            len(_words(keys) & _words(case)),
            -rank,
            -len(_words(keys)),
            keys,
        )
        for rank, root in enumerate(parity_roots())
        for keys in (root / method).glob("*.keys.json")
        if _fits(_shapes(keys), known, stored)
    ]
    if not fitting:
        folders = ", ".join(str(root / method) for root in parity_roots())
        raise FileNotFoundError(
            f"No *.keys.json in {folders} describes the network of {case.name}. "
            "Put the network's key file beside the case."
        )
    return max(fitting)[-1]


def stored_tensors(case: Mapping[str, Any]) -> dict[str, Shape | None]:
    """Return the published names in the case of a training step, and the shapes as stored.

    Gradients and running statistics are stored with their shapes, other parameters by name only.
    """
    lists = [case[key] for key in ("grad_norm_names", "param_names") if key in case]
    names: dict[str, Shape | None] = {str(name): None for own in lists for name in own}
    kinds = ("grad/", "bn/", "after/")
    return names | {k.partition("/")[2]: case[k].shape for k in case if k.startswith(kinds)}


def first_64(shape: Shape) -> Shape:
    """Return how Group Pose's and PoseDet's cases store a gradient: at most 64 rows and columns."""
    return (min(shape[0], 64), min(math.prod(shape[1:]), 64)) if len(shape) > 1 else shape


def _letters(path: Path) -> str:
    """Return a file's name in one word."""
    return path.name.split(".")[0].replace("_", "")


def _words(path: Path) -> set[str]:
    """Return the words of a file's name; `r50` is short for `resnet50`."""
    return set(re.split(r"[_.]", path.name.split(".")[0].replace("resnet", "r")))


@cache
def _shapes(keys: Path) -> dict[str, Shape]:
    return {name: tuple(shape) for name, shape in json.loads(keys.read_text()).items()}


def _fits(
    shapes: Mapping[str, Shape],
    known: Mapping[str, Shape | None],
    stored: Callable[[Shape], Shape],
) -> bool:
    return all(
        name in shapes and shape in (None, stored(shapes[name])) for name, shape in known.items()
    )
