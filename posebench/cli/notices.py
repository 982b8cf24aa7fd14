"""What the library notices of input, as lines on stderr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.markup import escape

from posebench.cli.common import messages
from posebench.errors import Notice


@contextmanager
def shown_notices() -> Iterator[None]:
    """Print each `Notice` once while this context lasts; other warnings are as before."""
    seen: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        show = warnings.showwarning

        def show_notice(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, Notice):
                show(message, category, filename, lineno, file, line)
            elif str(message) not in seen:
                seen.add(str(message))
                messages.print(f"[yellow]note:[/] {escape(str(message))}", soft_wrap=True)

        warnings.showwarning = show_notice
        yield
