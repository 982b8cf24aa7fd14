"""The FLOP audit: what a network's forward pass computes, operator by operator.

Every operator that reaches PyTorch is either counted by a formula (`bench.formulas`), or known to
compute nothing, or listed as uncounted. Nothing is left out in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from posebench.bench.formulas import FORMULAS, MOVES, has_floats, operator_name
from posebench.layers.sampling import own_operations


@dataclass(frozen=True)
class OperatorCost:
    """What all calls of one operator took."""

    name: str  # "aten::convolution"
    calls: int
    macs: int
    flops: int


@dataclass(frozen=True)
class ModuleCost:
    """What a module took, with all within it."""

    name: str  # its own, "conv1"; the whole model's is empty
    kind: str  # its class
    macs: int
    flops: int
    parameters: int
    children: tuple[ModuleCost, ...]  # in the model's order

    def lines(self, depth: int, path: str = "") -> Iterator[tuple[int, str, ModuleCost]]:
        """Yield (level, dotted path, module) of modules that took something, down to a depth."""
        yield path.count(".") + bool(path), path, self
        if depth > 0:
            for child in self.children:
                if child.flops:
                    yield from child.lines(depth - 1, f"{path}.{child.name}".lstrip("."))


@dataclass(frozen=True)
class Audit:
    """What one forward pass took. A MAC is a product that is added to others, see `formulas`."""

    macs: int
    flops: int  # two for each MAC, and all other arithmetic
    parameters: int
    operators: tuple[OperatorCost, ...]  # that were counted, the dearest first
    uncounted: tuple[tuple[str, int], ...]  # names and calls of those that were not
    tree: ModuleCost


def audit(model: nn.Module, *inputs: Any, **options: Any) -> Audit:
    """Count what `model(*inputs, **options)` computes, on the device where they are.

    The meta device will do, where shapes do not depend on values.
    """
    return audit_call(model, lambda: model(*inputs, **options))


def audit_call(model: nn.Module, call: Callable[[], Any]) -> Audit:
    """Count what a call computes; the tree tells which of the model's modules does."""
    with (
        _Places(model) as places,
        own_operations(),
        torch.inference_mode(),
        _Counting(places) as counting,
    ):
        call()
    return Audit(
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


class _Places:
    """Knows which module computes, by hooks; a module that is there twice has its first name."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.stack = [""]
        self.hooks: list[Any] = []

    def __enter__(self) -> _Places:
        for path, module in self.model.named_modules():
            self.hooks.append(module.register_forward_pre_hook(self._entered(path)))
            self.hooks.append(module.register_forward_hook(self._left, always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _entered(self, path: str) -> Callable[..., None]:
        return lambda *_: self.stack.append(path)

    def _left(self, *_: Any) -> None:
        self.stack.pop()


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator as it is carried out."""

    def __init__(self, places: _Places) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places = places
        self.operators: dict[str, OperatorCost] = {}
        self.uncounted: Counter[str] = Counter()
        self.by_module: dict[str, tuple[int, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operator_name(func)
        if name not in FORMULAS and name not in MOVES:
            with self:  # what it is made of, if it is made of others
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
        # What a formula computes of its own is not seen: no mode is active in here.
        cost = formula(out, *args, **kwargs) if formula else None
        if cost is None:
            self.uncounted[name] += 1
            return
        before = self.operators.get(name, OperatorCost(name, 0, 0, 0))
        self.operators[name] = OperatorCost(
            name, before.calls + 1, before.macs + cost[0], before.flops + cost[1]
        )
        place = self.places.stack[-1]
        macs, flops = self.by_module.get(place, (0, 0))
        self.by_module[place] = macs + cost[0], flops + cost[1]
