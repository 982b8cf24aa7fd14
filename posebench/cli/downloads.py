"""The progress of downloads, which any command may need, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.errors import LiveError

from posebench.cli.common import messages, progress_bar
from posebench.downloads.showing import Progress

_MB = 1_000_000


@contextmanager
def show_download(name: str) -> Iterator[Progress]:
    """Show how many megabytes of a file are here while this context lasts."""
    bar = progress_bar()
    task = bar.add_task(f"downloading {name}", total=None, note="MB")

    def show(done: int, total: int | None) -> None:
        megabytes = None if total is None else max(total // _MB, 1)
        bar.update(task, completed=done // _MB, total=megabytes)

    if messages.is_terminal:
        try:
            bar.start()
        except LiveError:  # a command's own bar is drawn there already
            bar.disable = True
    try:
        yield show
    finally:
        bar.stop()
