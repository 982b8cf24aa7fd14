"""Work ahead in a thread, through a queue of bounded length."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_S = 0.1  # between looks at whether it was stopped


class Background(Generic[T]):
    """Takes items from an iterator in a thread, so that the next ones are there when asked for."""

    def __init__(
        self,
        items: Iterator[T],
        ahead: int,
        *,
        perishable: Callable[[T], bool] = lambda item: False,
    ) -> None:
        """Prepare to take items; the thread begins when they are first asked for.

        So nothing runs, or keeps a camera open, for somebody who never asks.

        Args:
            items: is advanced in the thread alone.
            ahead: how many items wait at most.
            perishable: whether an item may replace one that has been waiting too long: of a camera
                the newest frames count.
        """
        self.dropped = 0  # items that were replaced
        self._queue: Queue[T | None] = Queue(ahead)  # None: there are no more
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._perishable = perishable
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)

    def start(self) -> None:
        """Begin to work ahead, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Let `take` and the thread end soon, whatever they wait for."""
        self._stopped.set()

    def take(self, count: int) -> list[T]:
        """Return the next items: so many, fewer at the end, or those of a camera that are there.

        Raises:
            Exception: what the iterator raised, after the items before it.
        """
        self.start()
        taken: list[T] = []
        while len(taken) < count and not self._stopped.is_set():
            try:
                item = self._queue.get(timeout=_POLL_S)
            except Empty:
                if taken and self._perishable(taken[-1]):
                    break
                continue
            if item is None:
                self._stopped.set()
                break
            taken.append(item)
            if self._perishable(item) and self._queue.empty():
                break
        if not taken and self._error is not None:
            error, self._error = self._error, None
            raise error
        return taken

    def close(self) -> None:
        """Stop, and wait a moment for the thread: a network that is silent does not hold it."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(timeout=2.0)

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    break
        except BaseException as error:  # raised again by `take`
            self._error = error
        finally:
            close = getattr(items, "close", None)
            if close:
                close()
            self._put(None)

    def _put(self, item: T | None) -> bool:
        """Put an item into the queue; return False if it was stopped before there was room."""
        perishable = item is not None and self._perishable(item)
        while not self._stopped.is_set():
            try:
                if perishable and self._queue.full():
                    self._drop()
                self._queue.put(item, timeout=_POLL_S)
            except Full:
                continue
            return True
        return False

    def _drop(self) -> None:
        """Drop the oldest perishable item that waits; others, as frames of a film, are kept."""
        with self._queue.mutex:
            waiting = self._queue.queue
            for place, item in enumerate(waiting):
                if item is not None and self._perishable(item):
                    del waiting[place]
                    self.dropped += 1
                    return
