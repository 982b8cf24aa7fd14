"""Several models on the same images: AP with intervals, and which of them differ, where and why.

Every pair is tested by exchanging images, and the p-values of all pairs are adjusted together.
Models that share a letter cannot be told apart; as in any such display, sharing is not transitive.
"""

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.bench.comparison.comparing import compare, compare_matches
    from posebench.bench.comparison.letters import letter_groups
    from posebench.bench.comparison.tables import latex_table, write_text_tables
    from posebench.bench.comparison.values import (
        Comparison,
        ErrorDifference,
        GroupDifference,
        GroupScore,
        ImageEffect,
        ModelScores,
        PairDifference,
    )

__all__ = [
    "Comparison",
    "ErrorDifference",
    "GroupDifference",
    "GroupScore",
    "ImageEffect",
    "ModelScores",
    "PairDifference",
    "compare",
    "compare_matches",
    "latex_table",
    "letter_groups",
    "write_text_tables",
]

__getattr__ = lazy_names(
    __name__,
    comparing=("compare", "compare_matches"),
    letters=("letter_groups",),
    tables=("latex_table", "write_text_tables"),
    values=(
        "Comparison",
        "ErrorDifference",
        "GroupDifference",
        "GroupScore",
        "ImageEffect",
        "ModelScores",
        "PairDifference",
    ),
)
