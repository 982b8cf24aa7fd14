"""The order of turns, budgets and failures, with scripted workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from posebench.bench.speed.options import RoundSchedule
from posebench.bench.speed.rounds import MIN_ROUNDS, Timing, memory_groups, take_turns
from posebench.bench.speed.worker import Worker, WorkerFailed
from tests.bench.speed.fakes import STATS


class Scripted(Worker):
    """A worker without a process that logs its requests; a turn advances a simulated clock."""

    def __init__(self, name: str, log: list[str], clock: list[float], seconds: float) -> None:
        self.name, self.log, self.clock, self.seconds = name, log, clock, seconds
        self.fails_at = ""

    def ask(self, method: str, *arguments: Any) -> Any:
        entry = f"{self.name} {method} {arguments[0]}"
        self.log.append(entry)
        if entry == self.fails_at:
            raise WorkerFailed("it fell")
        if method == "measure_for":
            self.clock[0] += self.seconds
            return [{"network/x": self.seconds}]
        return STATS

    def close(self) -> None:
        self.log.append(f"{self.name} closed")


def run(
    seconds: dict[str, float], schedule: RoundSchedule, cases: int = 1, fails_at: str = ""
) -> tuple[list[str], dict[str, list[Timing]]]:
    log: list[str] = []
    clock = [0.0]
    workers = {name: Scripted(name, log, clock, own) for name, own in seconds.items()}
    for worker in workers.values():
        worker.fails_at = fails_at
    timings = {name: [Timing(name, case) for case in range(cases)] for name in seconds}
    now: Callable[[], float] = lambda: clock[0]  # noqa: E731
    take_turns(workers, timings, schedule, now=now)
    return log, timings


def test_models_are_prepared_and_then_take_turns() -> None:
    log, timings = run({"a": 1, "b": 1, "c": 1}, RoundSchedule(rounds=2))
    assert log == [
        "a prepare 0", "b prepare 0", "c prepare 0",
        "a measure_for 0", "b measure_for 0", "c measure_for 0",
        "a measure_for 0", "b measure_for 0", "c measure_for 0",
    ]  # fmt: skip
    assert all(sorted(one.rounds) == [0, 1] and one.stats == STATS for [one] in timings.values())


def test_all_show_a_case_before_any_shows_the_next() -> None:
    log, _ = run({"a": 1, "b": 1}, RoundSchedule(rounds=1), cases=2)
    assert log[4:] == ["a measure_for 0", "b measure_for 0", "a measure_for 1", "b measure_for 1"]


def test_a_slow_model_has_the_least_rounds_and_a_fast_one_all() -> None:
    _, timings = run({"slow": 50, "fast": 1}, RoundSchedule(rounds=10, budget_s=60))
    assert len(timings["slow"][0].rounds) == MIN_ROUNDS
    assert len(timings["fast"][0].rounds) == 10


def test_a_budget_ends_rounds_beyond_the_least() -> None:
    _, timings = run({"a": 10}, RoundSchedule(rounds=10, budget_s=45))
    assert len(timings["a"][0].rounds) == 5


def test_one_that_falls_keeps_its_rounds_and_the_others_go_on() -> None:
    _, timings = run({"a": 1, "b": 1}, RoundSchedule(rounds=3), cases=2, fails_at="b measure_for 1")
    assert [len(one.rounds) for one in timings["a"]] == [3, 3]
    assert [len(one.rounds) for one in timings["b"]] == [1, 0]
    assert [one.error for one in timings["b"]] == ["it fell"] * 2
    assert [one.error for one in timings["a"]] == [""] * 2


def test_one_that_cannot_be_prepared_has_no_turn() -> None:
    log, timings = run({"a": 1, "b": 1}, RoundSchedule(rounds=3), fails_at="a prepare 0")
    assert "a measure_for 0" not in log
    assert timings["a"][0].error == "it fell"
    assert timings["a"][0].stats is None
    assert len(timings["b"][0].rounds) == 3


def test_a_timing_is_of_its_stages_and_its_rounds() -> None:
    timing = Timing("a", 0)
    timing.rounds = {0: [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 2.0}], 4: [{"x": 5.0, "y": 0.0}]}
    assert timing.seconds() == [3, 5, 5]
    assert timing.seconds(lambda stage: stage == "x") == [1, 3, 5]
    assert timing.by_round() == {0: 4, 4: 5}


def test_groups_fit_into_memory_and_all_have_the_first_model() -> None:
    needs = {"a": 2, "b": 3, "c": 3, "d": 9, "e": 1}
    assert memory_groups(list(needs), needs, 8) == [["a", "b", "c"], ["a", "d"], ["a", "e"]]
    assert memory_groups(list(needs), needs, 18) == [["a", "b", "c", "d", "e"]]
    assert memory_groups(["a"], needs, 1) == [["a"]]
