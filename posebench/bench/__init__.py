"""What models cost: operations, time and memory, measured in one way for every method."""

from posebench.bench.flops import Audit, ModuleCost, OperatorCost, audit

__all__ = ["Audit", "ModuleCost", "OperatorCost", "audit"]
