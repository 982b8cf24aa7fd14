"""What a comparison or an analysis says, in sentences made from its numbers.

The first sentence is the answer. AP and what errors cost are in points: percent.
"""

from posebench.bench.verdict.of_analysis import analysis_sentences
from posebench.bench.verdict.of_comparison import comparison_sentences, decided
from posebench.bench.verdict.words import ERRORS, ErrorName

__all__ = ["ERRORS", "ErrorName", "analysis_sentences", "comparison_sentences", "decided"]
