"""What the test device has done: kernels launched, and what made Python wait for them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import posebench
from tests.device.operators import Operator

_PACKAGE = f"{Path(posebench.__file__).parent}{os.sep}"


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

    def note(self, operator: Operator, args: Any, kwargs: Any) -> bool:
        """Note an operator on the device, except copies; return whether Python waits for it."""
        waits = operator.waits or operator.finds_size(kwargs) or operator.has_mask(args)
        if waits:
            self.wait(operator.waits or operator.name)
        if operator.launches:
            self.launches[_place()] += 1
        return bool(waits)


LEDGER = Ledger()


def _place() -> str:
    """Return the innermost line of posebench on the stack."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if file := _in_package(frame.f_code.co_filename):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"  # on autograd's way back, or in a test


@cache
def _in_package(file: str) -> str | None:
    """Return the path of a file within posebench; None: it is elsewhere."""
    return file.removeprefix(_PACKAGE) if file.startswith(_PACKAGE) else None
