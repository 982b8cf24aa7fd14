"""`posebench speed`: models take turns, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from posebench.bench.flops import meta_model
from posebench.bench.inputs import write_pictures
from posebench.bench.subject import PEOPLE, Case, Precision, Protocol, Subject
from posebench.bench.timed import TimedModel
from posebench.bench.turns import LEAST_ROUNDS, Askable, Schedule, Tell, Timing, lots, take_turns
from posebench.bench.worker import Worker
from posebench.models import profile_of
from posebench.recipe import Recipe

FULL = Schedule()
QUICK = Schedule(rounds=5, turn_s=0.5, budget_s=15.0)

# What a process takes beside its weights, which are there up to four times while they are folded.
_PROCESS_BYTES = {"cpu": 400 * 2**20, "cuda": 3 * 2**30}
_SHARE_OF_MEMORY = 0.7


@dataclass(frozen=True)
class SpeedOptions:
    """How models are timed; everything here is the same for all that are compared."""

    protocol: Protocol = "end-to-end"
    people: tuple[int, ...] = (PEOPLE,)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "fp32"
    batch_size: int = 1
    compiled: bool = False
    channels_last: bool = True
    threads: int = 0
    alternatives: bool = False
    schedule: Schedule = FULL

    @property
    def label(self) -> str:
        """What result tables call the ways to run a network."""
        words = ["compiled"] * self.compiled + ["channels last"] * self.channels_last
        words += ["alternatives"] * self.alternatives
        return " + ".join(words)


def subjects(
    recipes: Sequence[Recipe], options: SpeedOptions, pictures: tuple[str, ...]
) -> dict[str, Subject]:
    """Return what each recipe's process is to time, by the recipe's name."""
    return {
        recipe.name: Subject(
            recipe=recipe.name,
            protocol=options.protocol,
            cases=cases(recipe, options),
            pictures=pictures,
            device=str(options.device),
            precision=options.precision,
            batch_size=options.batch_size,
            compiled=options.compiled,
            channels_last=options.channels_last,
            threads=options.threads,
            alternatives=options.alternatives,
        )
        for recipe in recipes
    }


def cases(recipe: Recipe, options: SpeedOptions) -> tuple[Case, ...]:
    """Return what a recipe is shown: every number of people, at every size of its paper's times."""
    sizes: tuple[tuple[int, int] | None, ...] = (None,)
    timing = profile_of(recipe.config).paper_timing
    if options.protocol == "paper" and timing is not None:
        side = recipe.inference.resize.short_side
        sizes = ((side, side),) if timing.square else timing.sizes or (None,)
    return tuple(Case(people, size) for size in sizes for people in options.people)


def measure(
    recipes: Sequence[Recipe],
    options: SpeedOptions,
    *,
    first_round: int = 0,
    tell: Tell = lambda name, what: None,
    lot_done: Callable[[list[Timing]], None] = lambda timings: None,
    make: Callable[[Subject], object] = TimedModel,
) -> list[Timing]:
    """Time recipes against one another; the first is in every lot.

    Args:
        recipes: at least one.
        options: the same for all.
        first_round: number of the first round.
        tell: what is told of progress.
        lot_done: told the timings so far, when some are complete.
        make: what a worker's process makes of its subject.

    Returns:
        The timings of all cases of all recipes. Where it is interrupted, `lot_done` has had those
        that had their rounds.
    """
    with tempfile.TemporaryDirectory(prefix="posebench-") as folder:
        shown = subjects(recipes, options, write_pictures(Path(folder)))
        timings = {
            name: [Timing(name, case) for case in range(len(subject.cases))]
            for name, subject in shown.items()
        }
        needs = {recipe.name: _needs(recipe, options) for recipe in recipes}
        for names in lots(list(shown), needs, _available(options.device)):
            workers: dict[str, Askable] = {}
            try:
                workers |= {name: Worker(make, shown[name]) for name in names}
                take_turns(workers, timings, options.schedule, first_round=first_round, tell=tell)
            finally:
                for worker in workers.values():
                    worker.close()
                found = [timing for own in timings.values() for timing in own]
                lot_done([t for t in found if t.error or len(t.rounds) >= LEAST_ROUNDS])
            first_round += options.schedule.rounds
    return found


def _needs(recipe: Recipe, options: SpeedOptions) -> int:
    weights = sum(p.numel() * p.element_size() for p in meta_model(recipe).parameters())
    return _PROCESS_BYTES[options.device.type] + 4 * weights


def _available(device: torch.device) -> int:
    """Return how many bytes models may take together."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = 8 * 2**30  # where the system does not say
        info = Path("/proc/meminfo")
        if info.exists():
            lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
            free = int(lines["MemAvailable"].split()[0]) * 1024
    return int(_SHARE_OF_MEMORY * free)
