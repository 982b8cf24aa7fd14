"""Models take turns (A B C A B C), so that a slow spell of the machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from posebench.bench.speed.load import Load, LoadReader
from posebench.bench.speed.options import CaseStats, RoundSchedule, Seconds
from posebench.bench.speed.worker import Worker, WorkerFailed

if TYPE_CHECKING:
    from posebench.engine import Predictor

MIN_ROUNDS = 3


@dataclass
class Timing:
    """The measurements of one case of one model."""

    name: str  # of the recipe
    case: int  # index into the recipe's cases
    stats: CaseStats | None = None  # None: the model has not been prepared
    rounds: dict[int, list[Seconds]] = field(default_factory=dict)  # round -> passes
    error: str = ""
    load: Load = field(default_factory=Load)  # of other processes, and throttling, in its turns
    predictor: Predictor | None = None  # None: it is of a recipe
    backend: str = "torch"

    def seconds(self, stages: Callable[[str], bool] = lambda stage: True) -> list[float]:
        """Return the time of the selected stages together, for every pass."""
        return [
            sum(seconds for stage, seconds in one.items() if stages(stage))
            for passes in self.rounds.values()
            for one in passes
        ]

    def by_round(self) -> dict[int, float]:
        """Return the seconds of each round's median pass."""
        return {
            number: median(sum(one.values()) for one in passes)
            for number, passes in self.rounds.items()
        }


OnProgress = Callable[[str, str], None]  # called with a recipe's name and what it is doing


def take_turns(
    workers: Mapping[str, Worker],
    timings: Mapping[str, Sequence[Timing]],
    schedule: RoundSchedule,
    *,
    first_round: int = 0,
    on_progress: OnProgress = lambda name, what: None,
    now: Callable[[], float] = time.monotonic,
    reader: LoadReader | None = None,
) -> None:
    """Prepare every model, then let them take turns; a model that fails keeps its measurements.

    Args:
        workers: by recipe name, in the order of turns; they stay open.
        timings: recipe name -> its cases; the measurements are stored in them.
        schedule: rounds and times.
        first_round: number of the first round. Groups that are timed one after another have
            different rounds.
        on_progress: is called with a recipe and what its model is doing.
        now: clock of the budgets, in seconds.
        reader: of the machine's load, before and after each turn; None: it is not read.
    """
    alive = dict(workers)

    def fail(name: str, error: WorkerFailed) -> None:
        alive.pop(name)
        for timing in timings[name]:
            timing.error = str(error)
        on_progress(name, f"failed: {error}")

    for name, worker in workers.items():
        on_progress(name, "prepares")
        try:
            for timing in timings[name]:
                timing.stats = worker.ask("prepare", timing.case)
        except WorkerFailed as error:
            fail(name, error)
    spent = dict.fromkeys(workers, 0.0)
    for number in range(schedule.rounds):
        going = [n for n in alive if number < MIN_ROUNDS or spent[n] < schedule.budget_s]
        if not going:
            break
        # Case by case, so that measurements that are compared lie close together in time.
        for case in range(max(len(timings[name]) for name in going)):
            for name in going:
                if name not in alive or case >= len(timings[name]):
                    continue
                on_progress(name, f"round {number + 1} of {schedule.rounds}")
                processes = alive[name].processes
                start = now()
                before = reader.read(processes) if reader else None
                try:
                    passes = alive[name].ask("measure_for", case, schedule.turn_s)
                except WorkerFailed as error:
                    fail(name, error)
                else:
                    timings[name][case].rounds[first_round + number] = passes
                    if reader and before:
                        timings[name][case].load.add(before, reader.read(processes))
                spent[name] += now() - start


def memory_groups(
    names: Sequence[str], needs: Mapping[str, int], available: int
) -> list[list[str]]:
    """Divide models into groups that fit into memory together.

    The first model is in every group, so that all can be compared with it in the same rounds. A
    model that does not fit beside the first gets a group all the same; its process may then fail
    with an error.

    Args:
        names: of the models, in order.
        needs: name -> bytes.
        available: bytes.
    """
    first, *others = names
    groups, used = [[first]], needs[first]
    for name in others:
        if used + needs[name] > available and len(groups[-1]) > 1:
            groups.append([first])
            used = needs[first]
        groups[-1].append(name)
        used += needs[name]
    return groups
