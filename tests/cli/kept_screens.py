"""Screens that are kept as text below `screens/`, to be looked at when they change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCREENS = Path(__file__).parent / "screens"


def check_screen(name: str, text: str, compared: Callable[[str], Any] = str) -> None:
    """Compare a text with the one that is kept under a name.

    Args:
        name: of the file.
        text: the screen.
        compared: what of both texts has to be equal.
    """
    path = SCREENS / f"{name}.txt"
    lines = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    if os.environ.get("POSEBENCH_SCREENS") == "write":
        path.write_text(lines, encoding="utf-8")
    assert compared(path.read_text(encoding="utf-8")) == compared(lines)
