"""Streams of the test device, and the order in which a GPU may do what they are given.

Everything is done at once here, so a wrong order would not be seen in values. Instead each stream
knows how many operators of every other one are over when its next begins, and an operator that
meets memory which another stream may still be using is refused. What was done before there was a
second stream counts as over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.device.ledger import LEDGER

Moments = dict[int, int]  # by stream: so many of its operators are over


class Race(RuntimeError):
    """An operator does not wait for another stream that uses its memory."""


@dataclass
class _Use:
    """What last used a piece of memory."""

    written: tuple[int, int]  # the stream, and which of its operators
    read: Moments = field(default_factory=dict)


class Stream:
    """Operators in their order."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.number = STREAMS.add(self)
        self.given = 0  # operators
        self.over: Moments = {}  # of other streams, before its next one begins

    def moments(self) -> Moments:
        """Return what is over when all that the stream was given is over."""
        return _later(self.over, {self.number: self.given})

    def record_event(self) -> Event:
        event = Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        self.over = _later(self.over, event.over)

    def wait_stream(self, other: Stream) -> None:
        self.over = _later(self.over, other.moments())

    def synchronize(self) -> None:
        LEDGER.wait("stream")
        STREAMS.wait(self.moments())

    def is_capturing(self) -> bool:
        return False


class Event:
    """A moment of a stream."""

    def __init__(self, **_: Any) -> None:
        self.at, self.over = 0.0, Moments()

    def record(self, stream: Stream | None = None) -> None:
        self.at, self.over = time.perf_counter(), (stream or STREAMS.current).moments()

    def synchronize(self) -> None:
        LEDGER.wait("event")
        STREAMS.wait(self.over)

    def elapsed_time(self, other: Event) -> float:
        return 1000 * (other.at - self.at)


class Streams:
    """All streams, and what they do with the device's memory."""

    def clear(self) -> None:
        """Begin anew, with a default stream."""
        self._streams: list[Stream] = []
        self._own = threading.local()  # each thread's current stream
        self._uses: dict[int, _Use] = {}  # by the address of the memory
        self._over: Moments = {}  # what Python has waited for
        Stream()

    @property
    def several(self) -> bool:
        """Whether there are more than one: in one stream all is in order."""
        return len(self._streams) > 1

    @property
    def default(self) -> Stream:
        """The first stream."""
        return self._streams[0]

    def add(self, stream: Stream) -> int:
        """Add a new stream and return its number."""
        self._streams.append(stream)
        return len(self._streams) - 1

    @property
    def current(self) -> Stream:
        """The stream to which this thread gives its operators."""
        stream: Stream = getattr(self._own, "stream", None) or self.default
        return stream

    @contextmanager
    def within(self, stream: Stream) -> Iterator[None]:
        before, self._own.stream = self.current, stream
        try:
            yield
        finally:
            self._own.stream = before

    def wait(self, moments: Moments | None = None) -> None:
        """Python waits: what is given to any stream from now on comes after these moments."""
        self._over = _later(self._over, self.current.moments() if moments is None else moments)

    def wait_for_all(self) -> None:
        """Python waits for all streams."""
        for stream in self._streams:
            self.wait(stream.moments())

    def note(self, read: Iterable[int], written: Iterable[int]) -> None:
        """Give an operator to the current stream.

        Args:
            read: addresses of the memory that it uses.
            written: of the memory that it changes.

        Raises:
            Race: another stream may still be using the memory.
        """
        stream = self.current
        stream.over = _later(stream.over, self._over)
        stream.given += 1
        for memory in read:
            if memory in self._uses:
                self._check(stream, [self._uses[memory].written])
                self._uses[memory].read[stream.number] = stream.given
        for memory in written:
            if memory in self._uses:
                use = self._uses[memory]
                self._check(stream, [use.written, *use.read.items()])
            self._uses[memory] = _Use((stream.number, stream.given))

    def made(self, memory: int) -> None:
        """Note new memory, which the current stream's last operator has filled."""
        self._uses[memory] = _Use((self.current.number, self.current.given))

    def _check(self, stream: Stream, earlier: Iterable[tuple[int, int]]) -> None:
        for number, moment in earlier:
            if number != stream.number and stream.over.get(number, 0) < moment:
                raise Race(
                    f"stream {stream.number} does not wait for operator {moment} of stream {number}"
                )


def _later(one: Moments, other: Moments) -> Moments:
    return {number: max(one.get(number, 0), other.get(number, 0)) for number in {*one, *other}}


STREAMS = Streams()
