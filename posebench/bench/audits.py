"""Tidy rows of FLOP audits."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from posebench.bench.costs import Costs
from posebench.bench.flops import Audit
from posebench.engine.runs import git_commit
from posebench.recipe import Recipe


def audit_rows(
    recipe: Recipe, size: tuple[int, int], people: int, audit: Audit, costs: Costs, depth: int
) -> pd.DataFrame:
    """Return a row for every total, operator, uncounted operator and module.

    Args:
        recipe: that was counted.
        size: H, W of the input.
        people: in the image.
        audit: of its forward pass.
        costs: its totals in other ways of counting.
        depth: levels of modules; 0: none.
    """
    common = {
        "recipe": recipe.name,
        "method": recipe.method,
        "backbone": recipe.config.backbone,
        "input_size": "x".join(map(str, size)),
        "people": people,
        "source": "measured",
        "date": datetime.now().date().isoformat(),
        "commit": git_commit(),
    }
    rows: list[tuple[str, float, str]] = [
        ("parameters", audit.parameters, "count"),
        ("macs", audit.macs, "MACs"),
        ("macs_as_written", costs.macs_as_written, "MACs"),
        ("flops", audit.flops, "FLOPs"),
        ("flops_folded", costs.flops_folded, "FLOPs"),
    ]
    for operator in audit.operators:
        rows.append((f"macs/{operator.name}", operator.macs, "MACs"))
        rows.append((f"flops/{operator.name}", operator.flops, "FLOPs"))
        rows.append((f"calls/{operator.name}", operator.calls, "count"))
    rows += [(f"uncounted/{name}", calls, "count") for name, calls in audit.uncounted]
    for _, path, module in audit.tree.lines(depth) if depth else ():
        rows.append((f"module_macs/{path}", module.macs, "MACs"))
        rows.append((f"module_flops/{path}", module.flops, "FLOPs"))
        rows.append((f"module_parameters/{path}", module.parameters, "count"))
    return pd.DataFrame(
        {**common, "metric": metric, "value": value, "unit": unit} for metric, value, unit in rows
    )
