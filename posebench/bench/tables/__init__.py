"""The papers' tables: what they print, what was measured here, and which of their claims hold.

`join` puts the measurements of `Runs` next to the printed figures of a table; `check_claims` counts
what papers claim about cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.bench.tables.claims import (
        CheckedClaim,
        Claim,
        check_claims,
        claim_rows,
        list_untested,
        read_claims,
        untested_rows,
    )
    from posebench.bench.tables.export import TextTable, html_table, text_table, write_table
    from posebench.bench.tables.joined import LIMITS, MEASURED, JoinedTable, join
    from posebench.bench.tables.measured import Runs
    from posebench.bench.tables.papers import (
        PaperTable,
        find_table,
        list_tables,
        load_table,
        read_text,
        short_name,
        table_names,
    )

__all__ = [
    "LIMITS",
    "MEASURED",
    "CheckedClaim",
    "Claim",
    "JoinedTable",
    "PaperTable",
    "Runs",
    "TextTable",
    "check_claims",
    "claim_rows",
    "find_table",
    "html_table",
    "join",
    "list_tables",
    "list_untested",
    "load_table",
    "read_claims",
    "read_text",
    "short_name",
    "table_names",
    "text_table",
    "untested_rows",
    "write_table",
]

__getattr__ = lazy_names(
    __name__,
    claims=(
        "CheckedClaim",
        "Claim",
        "check_claims",
        "claim_rows",
        "list_untested",
        "read_claims",
        "untested_rows",
    ),
    export=("TextTable", "html_table", "text_table", "write_table"),
    joined=("LIMITS", "MEASURED", "JoinedTable", "join"),
    measured=("Runs",),
    papers=(
        "PaperTable",
        "find_table",
        "list_tables",
        "load_table",
        "read_text",
        "short_name",
        "table_names",
    ),
)
