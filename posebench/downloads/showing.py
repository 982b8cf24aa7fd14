"""Who shows the progress of downloads, which happen deep inside of what a command does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Progress = Callable[[int, int | None], None]  # bytes that are here; of how many, if that is known
Reporter = Callable[[str], AbstractContextManager[Progress]]  # for a file's name

_reporters: list[Reporter] = []  # the last one is asked


@contextmanager
def shown_by(reporter: Reporter) -> Iterator[None]:
    """While this context lasts, downloads without a callback of their own are shown by this."""
    _reporters.append(reporter)
    try:
        yield
    finally:
        _reporters.remove(reporter)


def progress_of(name: str) -> AbstractContextManager[Progress]:
    """Return what shows the download of a file, as a context; without a reporter, nothing does."""
    return _reporters[-1](name) if _reporters else nullcontext(_unseen)


def _unseen(done: int, total: int | None) -> None:
    """Show nothing."""
