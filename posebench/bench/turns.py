"""Taking turns: A B C A B C, so that whatever slows the machine for a while slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from posebench.bench.worker import WorkerFailed

LEAST_ROUNDS = 3


class Askable(Protocol):
    """What of a `Worker` is used."""

    def ask(self, method: str, *arguments: Any) -> Any: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Schedule:
    """How long is timed."""

    rounds: int = 10  # at most
    turn_s: float = 1.0  # of one case of one model, unless a pass takes longer
    budget_s: float = 60.0  # of one model; a slow one has `LEAST_ROUNDS` all the same


@dataclass
class Timing:
    """What is known of one case of one model."""

    name: str  # of the model
    case: int
    facts: Any = None
    rounds: dict[int, list[dict[str, float]]] = field(default_factory=dict)  # passes' stages
    error: str = ""

    def seconds(self, stages: Callable[[str], bool] = lambda stage: True) -> list[float]:
        """Return what some stages took together, of every pass."""
        return [
            sum(took for stage, took in one.items() if stages(stage))
            for passes in self.rounds.values()
            for one in passes
        ]

    def by_round(self, stages: Callable[[str], bool] = lambda stage: True) -> dict[int, float]:
        """Return the median pass of each round."""
        return {
            number: median(sum(t for s, t in one.items() if stages(s)) for one in passes)
            for number, passes in self.rounds.items()
        }


Tell = Callable[[str, str], None]  # a model's name, and what happens


def take_turns(
    workers: Mapping[str, Askable],
    timings: Mapping[str, Sequence[Timing]],
    schedule: Schedule,
    *,
    first_round: int = 0,
    tell: Tell = lambda name, what: None,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Prepare every model, then give them turns; one that fails keeps what it has and its error.

    Args:
        workers: by name, in the order of turns; they stay open.
        timings: of each one's cases, into which is written what is found.
        schedule: of rounds and times.
        first_round: number of the first one, so that lots have rounds of their own.
        tell: what is told of progress.
        now: the clock of budgets, seconds.
    """
    alive = dict(workers)

    def fail(name: str, error: WorkerFailed) -> None:
        alive.pop(name)
        for timing in timings[name]:
            timing.error = str(error)
        tell(name, f"failed: {error}")

    for name, worker in workers.items():
        tell(name, "prepares")
        try:
            for timing in timings[name]:
                timing.facts = worker.ask("prepare", timing.case)
        except WorkerFailed as error:
            fail(name, error)
    spent = dict.fromkeys(workers, 0.0)
    for number in range(schedule.rounds):
        going = [n for n in alive if number < LEAST_ROUNDS or spent[n] < schedule.budget_s]
        if not going:
            break
        # Case by case, so that what is compared lies close together.
        for case in range(max(len(timings[name]) for name in going)):
            for name in going:
                if name not in alive or case >= len(timings[name]):
                    continue
                tell(name, f"round {number + 1} of {schedule.rounds}")
                start = now()
                try:
                    passes = alive[name].ask("turn", case, schedule.turn_s)
                except WorkerFailed as error:
                    fail(name, error)
                else:
                    timings[name][case].rounds[first_round + number] = passes
                spent[name] += now() - start


def lots(names: Sequence[str], needs: Mapping[str, int], available: int) -> list[list[str]]:
    """Divide models into lots that fit the memory together.

    The first model is in every lot, so that all are compared with it in the same rounds. A model
    that fits beside the first nowhere has a lot all the same; its process may fail, and says so.
    """
    first, *others = names
    found, used = [[first]], needs[first]
    for name in others:
        if used + needs[name] > available and len(found[-1]) > 1:
            found.append([first])
            used = needs[first]
        found[-1].append(name)
        used += needs[name]
    return found
