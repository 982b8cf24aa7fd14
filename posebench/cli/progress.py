"""Progress of long work on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

# Without a terminal: seconds until the first line of a task, and between its lines.
FIRST_LINE_S, LINE_S = 5.0, 30.0

# The time left follows the pace of the last ten minutes: a step may take one, an evaluation some.
_PACE_S = 600.0


def parts(*words: str) -> str:
    """Return a note of a task: what fits is shown, so the most important words come first."""
    return "  ".join(words)


class ProgressBar(Progress):
    """Description, bar, count and time left of each task, then as much of its note as fits.

    A task's field `note` holds `parts`. Without a terminal a task has a line every half minute.
    """

    def __init__(self, console: Console, get_time: Callable[[], float] | None = None) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            _WideBarColumn(),
            _CountColumn(),
            TimeRemainingColumn(),
            _NoteColumn(),
            console=console,
            get_time=get_time,
            auto_refresh=console.is_terminal,
            disable=not console.is_terminal,
            transient=True,
            expand=True,
            speed_estimate_period=_PACE_S,
        )
        self._due: dict[TaskID, float] = {}  # when a task's next line is written

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._write_if_due(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._write_if_due(task_id)

    def _write_if_due(self, task_id: TaskID) -> None:
        started = self._tasks[task_id].start_time or 0.0
        if self.get_time() >= self._due.get(task_id, started + FIRST_LINE_S):
            self.write_line(task_id)

    def write_line(self, task_id: TaskID) -> None:
        """Write the line of a task now, where there is no terminal."""
        self._due[task_id] = self.get_time() + LINE_S
        if self.disable:
            line = _line(self._tasks[task_id])
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)


def _line(task: Task) -> str:
    total = "" if task.total is None else f"/{task.total:.0f}"
    words = [f"{task.description} {task.completed:.0f}{total}" if total else task.description]
    if task.time_remaining is not None and not task.finished:
        words.append(f"{timedelta(seconds=round(task.time_remaining))} left")
    note = task.fields.get("note")
    return parts(*words, *([note] if note else []))


class _WideBarColumn(ProgressColumn):
    """A bar of a fifth of the width."""

    def render(self, task: Task) -> RenderableType:
        return _Bar(task)


class _Bar:
    def __init__(self, task: Task) -> None:
        self.task = task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield BarColumn(bar_width=_bar_width(console))(self.task)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = _bar_width(console)
        return Measurement(width, width)


def _bar_width(console: Console) -> int:
    return max(8, console.width // 5)


class _CountColumn(MofNCompleteColumn):
    """Steps that are done, of how many; nothing if that is not known."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _NoteColumn(ProgressColumn):
    """The note of a task, in the width that the other columns leave."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True, ratio=1))

    def render(self, task: Task) -> RenderableType:
        return _Note(task.fields.get("note", ""))


class _Note:
    """The first parts of a text, as many as fit; the very first is cut if it must be."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown, *rest = self.text.split("  ")
        for part in rest:
            longer = parts(shown, part)
            if Text(longer).cell_len > options.max_width:
                break
            shown = longer
        yield Text(shown, no_wrap=True, overflow="ellipsis")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)
