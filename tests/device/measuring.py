"""Measurements in a process of their own, which is stopped when its time is over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What a part tells while it measures."""

    send: Callable[[tuple[str, str, Row]], None]

    def plan(self, names: Iterable[str]) -> None:
        for name in names:
            self.send(("plan", name, {}))

    def begin(self, name: str) -> None:
        self.send(("begin", name, {}))

    def reached(self, name: str, row: Row) -> None:
        """Say how far a step has come, in case it is stopped."""
        self.send(("reached", name, row))

    def end(self, name: str, row: Row) -> None:
        self.send(("end", name, row))

    def steps(self, steps: Mapping[str, Callable[[], Row]]) -> None:
        """Plan steps, take them one after the other, and report their rows."""
        self.plan(steps)
        for name, step in steps.items():
            self.begin(name)
            try:
                row = step()
            except Exception as error:  # the others are still worth knowing
                row = {"error": f"{type(error).__name__}: {error}"}
            self.end(name, row)


LEFT_OUT: Row = {"left_out": True}
Part = Callable[[Report], None]


def measure(work: Part, budget_s: float) -> Iterator[Row]:
    """Yield a row for each step of a part as soon as it is known, by its name.

    When time is over, the process is stopped with all that it has started. Of the interrupted step
    a row says what it has reached, and of those that were planned that they are left out.
    """
    end = time.monotonic() + budget_s
    there = multiprocessing.get_context("spawn")
    receiver, sender = there.Pipe(duplex=False)
    process = there.Process(target=_work, args=(work, sender))
    process.start()
    sender.close()
    waiting: dict[str, Row] = {}  # steps without a row, and what they have reached
    running = ""
    with suppress(EOFError):
        while receiver.poll(max(end - time.monotonic(), 0.0)):
            kind, name, facts = receiver.recv()
            waiting[name] = facts
            if kind == "begin":
                running = name
            elif kind == "end":
                yield {"name": name, **waiting.pop(name)}
                running = ""
    why = _ended(process, end)
    if why:
        waiting.setdefault(running := running or "the process", {})
    for name, reached in waiting.items():
        yield {"name": name, **({"stopped": why, **reached} if name == running else LEFT_OUT)}


def _work(work: Part, sender: Connection) -> None:
    os.setsid()  # with all processes that it starts
    work(Report(sender.send))
    sender.close()


def _ended(process: BaseProcess, end: float) -> str:
    """Return why a process has not done all of its work; empty: it has."""
    process.join(max(end - time.monotonic(), 0.0))
    if process.exitcode is None:
        assert process.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with those that it has started
        process.kill()
        process.join()
        return "time is over"
    return f"exit code {process.exitcode}" if process.exitcode else ""
