"""Ctrl-C and termination signals, taken at a point where the state can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from posebench.errors import Interrupted

__all__ = ["Interrupted", "interruptible"]


@contextmanager
def interruptible(on_request: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or a termination signal sets; a second Ctrl-C stops at once.

    Args:
        on_request: is called at the first signal.
    """
    stop = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        # After Ctrl-C, which its processes receive too, `torchrun` sends them a termination signal.
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        first = not stop.is_set()
        stop.set()
        if first and on_request:
            on_request()

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread can handle signals
        return
    previous = {s: signal.signal(s, request) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
