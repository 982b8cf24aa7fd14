"""A study: what a paper varies, in which table it prints the outcome, and how to do it again.

Studies are plain values that name recipes and fields; `posebench.bench.ablation` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One line of a study.

    Settings are `field=value` as in `posebench train --set`. Those of `test` need no training of
    their own: variants that agree in all the rest share one.
    """

    name: str
    row: int = 0  # of the study's table; 0: not printed
    train: tuple[str, ...] = ()  # by which its training differs from the study's recipe
    test: tuple[str, ...] = ()  # by which its test differs
    tiny: tuple[str, ...] | None = None  # in place of `train` with a tiny recipe; None: the same
    tiny_test: tuple[str, ...] | None = None  # in place of `test` with a tiny recipe
    recipe: str = ""  # trained in place of the study's
    share: float = 1.0  # of the schedule's length
    trained_on: str = ""  # "ochuman:val"; empty: the usual split of the study's dataset
    tested_on: str = ""  # likewise
    table: str = ""  # where it is printed; empty: the study's
    column: str = ""  # likewise
    fact: str = ""  # of the paper's text, where it is printed in no table: an id in text_facts.csv

    def settings(self, *, tiny: bool) -> tuple[str, ...]:
        """Return by which its training differs, on a full dataset or with a tiny recipe."""
        return self.tiny if tiny and self.tiny is not None else self.train

    def test_settings(self, *, tiny: bool) -> tuple[str, ...]:
        return self.tiny_test if tiny and self.tiny_test is not None else self.test


@dataclass(frozen=True)
class Study:
    """What one table or figure of a paper compares."""

    name: str  # "cid/recalibration"
    entry: str  # "A1": its number in docs/ablations.md
    table: str  # "cid_table01" of the printed tables, or "Figure 3" where none has its values
    factor: str  # what varies, in words
    base: str = ""  # the recipe that its variants change
    dataset: str = "coco"  # the paper's
    train_split: str = ""  # empty: the dataset's usual
    variants: tuple[Variant, ...] = ()
    column: str = "AP"  # of the table, by whose values the variants are ordered
    share: float = 1.0  # of the base's schedule, with the paper's settings
    expected: tuple[tuple[str, str], ...] = ()  # (worse, better), where the paper prints no values
    ideal: bool = False  # a perfect network's outputs are read in different ways: no training
    command: str = ""  # that answers it, where neither training nor testing does

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name} has two variants of one name: {', '.join(names)}.")
        unknown = {name for pair in self.expected for name in pair} - set(names)
        if unknown:
            raise ValueError(f"{self.name} expects something of {', '.join(unknown)}: no variants.")
        if bool(self.variants) == bool(self.command):
            raise ValueError(f"{self.name} has either variants or a command, not both.")

    @property
    def method(self) -> str:
        """`cid` of `cid/recalibration`."""
        return self.name.partition("/")[0]


def named(values: Sequence[object], field: str, rows: Sequence[int]) -> tuple[Variant, ...]:
    """Return a variant for each value of a field, called after it, and its printed row."""
    return tuple(
        Variant(f"{value}", row, (f"{field}={value}",))
        for value, row in zip(values, rows, strict=True)
    )
