"""HTML reports of comparisons and error analyses: one file that needs no other and no network."""

from posebench.viz.result_report.analysis_page import analysis_page
from posebench.viz.result_report.comparison_page import comparison_page

__all__ = ["analysis_page", "comparison_page"]
