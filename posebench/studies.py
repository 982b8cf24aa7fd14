"""A study: what a paper varies, in which table it prints the results, and how to repeat it.

Studies are plain values that name recipes and fields; `posebench.bench.ablation` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One variant of a study.

    Settings are `field=value` as in `posebench train --set`. Variants that differ only in their
    settings for testing share a training.
    """

    name: str
    row: int = 0  # its row in the study's table; 0: not printed
    train: tuple[str, ...] = ()  # settings by which its training differs from the study's recipe
    test: tuple[str, ...] = ()  # settings by which its test differs
    tiny: tuple[str, ...] | None = None  # replaces `train` with a tiny recipe; None: the same
    tiny_test: tuple[str, ...] | None = None  # replaces `test` with a tiny recipe; None: the same
    recipe: str = ""  # the recipe to train; empty: the study's
    share: float = 1.0  # length of its training relative to the study's schedule
    trained_on: str = ""  # "ochuman:val"; empty: the usual split of the study's dataset
    tested_on: str = ""  # likewise
    table: str = ""  # the table that prints it; empty: the study's
    column: str = ""  # the column that prints it; empty: the study's
    fact: str = ""  # id in text_facts.csv of a value that only the paper's text states

    def settings(self, *, tiny: bool) -> tuple[str, ...]:
        """Return the settings of its training, with the paper's recipe or a tiny one."""
        return self.tiny if tiny and self.tiny is not None else self.train

    def test_settings(self, *, tiny: bool) -> tuple[str, ...]:
        """Return the settings of its test, likewise."""
        return self.tiny_test if tiny and self.tiny_test is not None else self.test


@dataclass(frozen=True)
class Study:
    """What one table or figure of a paper compares."""

    name: str  # "cid/recalibration"
    entry: str  # "A1": its number in docs/ablations.md
    table: str  # "cid_table01", a printed table, or "Figure 3" where no table has its values
    factor: str  # what varies, in words
    base: str = ""  # the recipe that its variants change
    dataset: str = "coco"  # the paper's
    train_split: str = ""  # empty: the dataset's usual one
    variants: tuple[Variant, ...] = ()
    column: str = "AP"  # the table's column whose values order the variants
    share: float = 1.0  # length of the paper's trainings relative to the base recipe's schedule
    expected: tuple[tuple[str, str], ...] = ()  # (worse, better), where the paper prints no values
    ideal: bool = False  # its variants decode ideal outputs in different ways; nothing is trained
    command: str = ""  # the command that answers it, for a study without variants

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name} has two variants of one name: {', '.join(names)}.")
        unknown = {name for pair in self.expected for name in pair} - set(names)
        if unknown:
            raise ValueError(
                f"{self.name} expects an order of {', '.join(sorted(unknown))}, which it does not "
                "have as variants."
            )
        if bool(self.variants) == bool(self.command):
            raise ValueError(f"{self.name} must have either variants or a command.")

    @property
    def method(self) -> str:
        """`cid` of `cid/recalibration`."""
        return self.name.partition("/")[0]


def named(values: Sequence[object], field: str, rows: Sequence[int]) -> tuple[Variant, ...]:
    """Return a variant for each value of a field, named after it, with its row of the table."""
    return tuple(
        Variant(f"{value}", row, (f"{field}={value}",))
        for value, row in zip(values, rows, strict=True)
    )
