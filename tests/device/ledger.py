"""What the test device has done: kernels launched, and what made Python wait for them."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import posebench

_PACKAGE = str(Path(posebench.__file__).parent)

# Python waits for these, as their values, or the shapes of their results, are needed on the CPU.
_WAITING = {
    "_local_scalar_dense", "_unique2", "bincount", "equal", "histc", "is_nonzero", "masked_select",
    "nms", "nonzero", "unique_consecutive", "unique_dim",
}  # fmt: skip
# These launch nothing: memory is taken, or seen in another form.
_SILENT = {
    "_local_scalar_dense", "_reshape_alias", "_unsafe_view", "alias", "detach", "empty",
    "empty_like", "empty_strided", "lift_fresh", "new_empty", "new_empty_strided", "resize_",
    "set_",
}  # fmt: skip


@dataclass
class Ledger:
    """Counts since `clear`, also by the line of posebench that caused them."""

    launches: Counter[str] = field(default_factory=Counter)  # by place
    waits: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind and place
    uploads: Counter[str] = field(default_factory=Counter)  # copies to the device without a wait

    def clear(self) -> None:
        for counts in (self.launches, self.waits, self.uploads):
            counts.clear()

    @property
    def downloads(self) -> int:
        """How often values were copied to the CPU."""
        return sum(count for (kind, _), count in self.waits.items() if kind == "to the CPU")

    def wait(self, kind: str) -> None:
        self.waits[kind, _place()] += 1

    def upload(self, *, pinned: bool, non_blocking: bool) -> bool:
        """Note a copy to the device; return whether Python waits for it.

        It does not where it asks not to, and the memory is pinned.
        """
        if pinned and non_blocking:
            self.uploads[_place()] += 1
            return False
        self.wait("to the device")
        return True

    def note(self, operator: Any, name: str, args: Any, kwargs: Any) -> bool:
        """Note an operator on the device, except copies; return whether Python waits for it."""
        waits = name in _WAITING or _finds_size(operator, name, kwargs) or _has_mask(name, args)
        if waits:
            self.wait({"_local_scalar_dense": "item"}.get(name, name))
        if not is_silent(operator, name):
            self.launches[_place()] += 1
        return waits


LEDGER = Ledger()


def is_silent(operator: Any, name: str) -> bool:
    """Return whether an operator launches nothing."""
    return operator.is_view or name in _SILENT


def _finds_size(operator: Any, name: str, kwargs: Any) -> bool:
    counts_given = operator._overloadname == "Tensor"
    return name == "repeat_interleave" and counts_given and kwargs.get("output_size") is None


def _has_mask(name: str, args: Any) -> bool:
    """Return whether an index is boolean, so that its length has to be counted first."""
    if not is_indexing(name, args):
        return False
    masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
    # One value is filled in where the mask is set, without counting.
    filled = "put" in name and len(masks) == 1 and args[2].numel() == 1
    return bool(masks) and not filled


def is_indexing(name: str, args: Any) -> bool:
    indexes = name.startswith(("index", "_index_put", "_unsafe_index"))
    return indexes and isinstance(args[1], list | tuple)


def _place() -> str:
    """Return the innermost line of posebench on the stack."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            return f"{file[len(_PACKAGE) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"  # on autograd's way back, or in a test
