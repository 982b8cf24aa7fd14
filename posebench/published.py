"""Checkpoints that others have published, and where they are: `published.toml` as values.

This module loads without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from posebench.downloads.cache import cache_folder
from posebench.errors import ModelError, UsageError, unknown_name
from posebench.toml_tables import Table

REGISTRY = Path(__file__).with_name("published.toml")

# What the code that printed a result does otherwise; docs/weights.md has the table.
DIFFERENCES = {
    "enlarging": "MMPose enlarges heatmaps and tags to the image in one step, the authors in two",
}


@dataclass(frozen=True)
class Published:
    """One published checkpoint."""

    name: str  # RECIPE@SOURCE
    source: str
    format: str  # the code base whose parameter names it has
    url: str  # empty: it can only be had by hand
    page: str  # where a person gets it
    file: str  # its name there
    sha256: str  # or a prefix; empty: not known
    sha384: str
    bytes: int  # 0: not known
    megabytes: float  # as computed from its tensors, where the size is not known
    settings: tuple[str, ...]  # recipe fields under which its result was printed
    dataset: str
    split: str
    ap: float  # percent
    ap_scales: float | None  # with the scales 0.5, 1 and 2; None: not printed
    flip: bool
    differs: str  # a key of DIFFERENCES; empty: nothing
    explanation: str  # why another AP is measured; empty: none is known
    licence: str
    read_at: str
    seen: bool

    @property
    def recipe(self) -> str:
        """The recipe that it fits."""
        return self.name.partition("@")[0]

    @property
    def path(self) -> Path:
        """Where the file is kept."""
        return cache_folder() / (self.file or f"{self.name}.pth")

    @property
    def here(self) -> bool:
        """Whether the file is on this machine."""
        return self.path.is_file()

    def by_hand(self) -> str:
        """Return how a person gets it."""
        return f"get it from {self.url or self.page} and put it at {self.path}"


@cache
def registry() -> dict[str, Published]:
    """Return all published checkpoints by name.

    Raises:
        DataError: the registry is damaged.
    """
    table = Table.read(REGISTRY, "the registry of published checkpoints")
    entries = [
        _entry(Table(values, f"checkpoint {number} of {REGISTRY.name}"))
        for number, values in enumerate(table.take("checkpoint", list))
    ]
    table.finish()
    return {entry.name: entry for entry in entries}


def _entry(table: Table) -> Published:
    url = table.take("url", str, "")
    entry = Published(
        name=table.take("name", str),
        source=table.take("source", str),
        format=table.take("format", str),
        url=url,
        page=table.take("page", str, ""),
        file=table.take("file", str, url.rpartition("/")[2]),
        sha256=table.take("sha256", str, ""),
        sha384=table.take("sha384", str, ""),
        bytes=table.take("bytes", int, 0),
        megabytes=table.take("megabytes", float, 0.0),
        settings=table.texts("settings", ()),
        dataset=table.take("dataset", str),
        split=table.take("split", str),
        ap=table.take("ap", float),
        ap_scales=table.take_any("ap_scales"),
        flip=table.take("flip", bool, True),
        differs=table.take("differs", str, ""),
        explanation=table.take("explanation", str, ""),
        licence=table.take("licence", str),
        read_at=table.take("read_at", str),
        seen=table.take("seen", bool),
    )
    table.finish()
    return entry


def published_for(recipe: str) -> list[Published]:
    """Return the checkpoints of a recipe."""
    return [entry for entry in registry().values() if entry.recipe == recipe]


def find_published(name: str) -> Published | None:
    """Return the checkpoint of a name, or the one that a recipe's name stands for.

    Args:
        name: RECIPE@SOURCE, or a recipe.

    Returns:
        None: the recipe has none that is here or can be downloaded.

    Raises:
        ModelError: no checkpoint has this name.
    """
    if "@" not in name:
        return next((entry for entry in published_for(name) if entry.url or entry.here), None)
    if name not in registry():
        own = [entry.name for entry in published_for(name.partition("@")[0])]
        raise ModelError(str(unknown_name("published checkpoint", name, own or registry())))
    return registry()[name]


def choose_published(patterns: Sequence[str]) -> list[Published]:
    """Return the checkpoints whose name or recipe matches one of the shell patterns; none: all.

    Raises:
        UsageError: a pattern matches none.
    """
    entries = list(registry().values())
    chosen: dict[str, Published] = {}
    for pattern in patterns or ("*",):
        found = [e for e in entries if fnmatch(e.name, pattern) or fnmatch(e.recipe, pattern)]
        if not found:
            known = dict.fromkeys(name for e in entries for name in (e.recipe, e.name))
            near = get_close_matches(pattern, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"No published checkpoint matches {pattern!r}: `posebench weights list` shows "
                f"them.{hint}"
            )
        chosen.update((entry.name, entry) for entry in found)
    return list(chosen.values())
