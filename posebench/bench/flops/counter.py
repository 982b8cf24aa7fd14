"""Counts the operations of a forward pass, operator by operator and module by module.

Every operator that PyTorch dispatches is either counted by a formula (`formulas.py`), known to
compute nothing, or listed as uncounted: nothing is left out silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from posebench.bench.flops.formulas import FORMULAS, MOVES, has_floats, operator_name
from posebench.layers.sampling import torch_operations_only


@dataclass(frozen=True)
class OperatorCost:
    """The cost of all calls of one operator."""

    name: str  # "aten::convolution"
    calls: int
    macs: int
    flops: int


@dataclass(frozen=True)
class ModuleCost:
    """The cost of a module, including its children."""

    name: str  # within its parent, "conv1"; empty: the model itself
    kind: str  # its class
    macs: int
    flops: int
    parameters: int
    children: tuple[ModuleCost, ...]  # in the model's order

    def walk(self, depth: int, path: str = "") -> Iterator[tuple[int, str, ModuleCost]]:
        """Yield (level, dotted path, module) of each module that computes, down to a depth."""
        yield path.count(".") + bool(path), path, self
        if depth > 0:
            for child in self.children:
                if child.flops:
                    yield from child.walk(depth - 1, f"{path}.{child.name}".lstrip("."))


@dataclass(frozen=True)
class OperationCount:
    """The operations of one forward pass. A MAC is one multiply-add, see `formulas.py`."""

    macs: int
    flops: int  # two per MAC, plus all other floating-point arithmetic
    parameters: int
    operators: tuple[OperatorCost, ...]  # the counted ones, the most expensive first
    uncounted: tuple[tuple[str, int], ...]  # operators without a formula, with their calls
    tree: ModuleCost


def count_operations(model: nn.Module, *inputs: Any, **options: Any) -> OperationCount:
    """Count the operations of `model(*inputs, **options)`, on the device of its inputs.

    On the meta device nothing is computed; it serves where shapes do not depend on values.
    """
    return count_call(model, lambda: model(*inputs, **options))


def count_call(model: nn.Module, call: Callable[[], Any]) -> OperationCount:
    """Count the operations of a call; the tree assigns them to the model's modules."""
    with (
        _ModuleStack(model) as modules,
        torch_operations_only(),
        torch.inference_mode(),
        _CountingMode(modules) as counting,
    ):
        call()
    return OperationCount(
        macs=sum(cost.macs for cost in counting.operators.values()),
        flops=sum(cost.flops for cost in counting.operators.values()),
        parameters=sum(p.numel() for p in model.parameters()),
        operators=tuple(sorted(counting.operators.values(), key=lambda c: (-c.flops, c.name))),
        uncounted=tuple(sorted(counting.uncounted.items())),
        tree=_tree(model, "", "", counting.by_module),
    )


def _tree(module: nn.Module, name: str, path: str, own: dict[str, tuple[int, int]]) -> ModuleCost:
    children = tuple(
        _tree(child, child_name, f"{path}.{child_name}".lstrip("."), own)
        for child_name, child in module.named_children()
    )
    macs, flops = own.get(path, (0, 0))
    return ModuleCost(
        name=name,
        kind=type(module).__name__,
        macs=macs + sum(child.macs for child in children),
        flops=flops + sum(child.flops for child in children),
        parameters=sum(p.numel() for p in module.parameters()),
        children=children,
    )


class _ModuleStack:
    """Keeps the path of the module that is computing, by hooks.

    A module registered under several names is counted under its first.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.paths = [""]
        self.hooks: list[Any] = []

    def __enter__(self) -> _ModuleStack:
        for path, module in self.model.named_modules():
            self.hooks.append(module.register_forward_pre_hook(self._pusher(path)))
            self.hooks.append(module.register_forward_hook(self._pop, always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _pusher(self, path: str) -> Callable[..., None]:
        return lambda *_: self.paths.append(path)

    def _pop(self, *_: Any) -> None:
        self.paths.pop()


class _CountingMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every operator as it is dispatched."""

    def __init__(self, modules: _ModuleStack) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.modules = modules
        self.operators: dict[str, OperatorCost] = {}
        self.uncounted: Counter[str] = Counter()
        self.by_module: dict[str, tuple[int, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operator_name(func)
        if name not in FORMULAS and name not in MOVES:
            with self:  # count the operators it decomposes into, if it does
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        self._count(name, out, args, kwargs)
        return out

    def _count(self, name: str, out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        formula = FORMULAS.get(name)
        if name in MOVES or (formula and not has_floats(out)):
            return
        # The formula's own tensor operations are not counted: the mode is inactive in here.
        cost = formula(out, *args, **kwargs) if formula else None
        if cost is None:
            self.uncounted[name] += 1
            return
        before = self.operators.get(name, OperatorCost(name, 0, 0, 0))
        self.operators[name] = OperatorCost(
            name, before.calls + 1, before.macs + cost[0], before.flops + cost[1]
        )
        module = self.modules.paths[-1]
        macs, flops = self.by_module.get(module, (0, 0))
        self.by_module[module] = macs + cost[0], flops + cost[1]
