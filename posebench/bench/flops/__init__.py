"""The cost of networks: parameters, MACs and FLOPs of a forward pass, without weights or data.

`audit` counts a recipe's forward pass operator by operator; `describe` sums it up in one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.bench.flops.cache import describe
    from posebench.bench.flops.costs import Audit, audit, count_recipe, meta_model
    from posebench.bench.flops.counter import (
        ModuleCost,
        OperationCount,
        OperatorCost,
        count_call,
        count_operations,
    )

__all__ = [
    "Audit",
    "ModuleCost",
    "OperationCount",
    "OperatorCost",
    "audit",
    "count_call",
    "count_operations",
    "count_recipe",
    "describe",
    "meta_model",
]

__getattr__ = lazy_names(
    __name__,
    cache=("describe",),
    costs=("Audit", "audit", "count_recipe", "meta_model"),
    counter=("ModuleCost", "OperationCount", "OperatorCost", "count_call", "count_operations"),
)
