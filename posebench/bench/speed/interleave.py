"""Times recipes against one another, each in its own process."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from posebench.bench.flops import meta_model
from posebench.bench.speed.inputs import write_images
from posebench.bench.speed.load import LoadReader
from posebench.bench.speed.options import SpeedOptions, TimingJob, input_cases, label_of
from posebench.bench.speed.rounds import (
    MIN_ROUNDS,
    OnProgress,
    Timing,
    memory_groups,
    take_turns,
)
from posebench.bench.speed.timed_predictor import timed
from posebench.bench.speed.worker import Worker
from posebench.engine import PREDICTORS, Predictor
from posebench.errors import UsageError
from posebench.recipe import Recipe

# Memory of a process besides its weights; four copies of the weights exist while they are folded.
_PROCESS_BYTES = {"cpu": 400 * 2**20, "cuda": 3 * 2**30}
_SHARE_OF_MEMORY = 0.7


def measure(
    recipes: Sequence[Recipe | Predictor],
    options: SpeedOptions,
    *,
    first_round: int = 0,
    on_progress: OnProgress = lambda name, what: None,
    on_group: Callable[[list[Timing]], None] = lambda timings: None,
    make: Callable[[TimingJob], object] = timed,
) -> list[Timing]:
    """Time recipes against one another; the first one is in every group.

    Args:
        recipes: at least one.
        options: the same for all.
        first_round: number of the first round.
        on_progress: is called with a recipe and what its model is doing.
        on_group: is called after each group, and on an interruption, with the complete timings.
        make: builds the model in a worker's process.

    Returns:
        The timings of all cases of all recipes.
    """
    with tempfile.TemporaryDirectory(prefix="posebench-") as folder:
        images = write_images(Path(folder))
        reader = LoadReader(options.device)
        device = torch.device(options.device)
        jobs, timings, needs = {}, {}, {}
        for recipe in recipes:
            cases, undeclared = input_cases(recipe, options), _undeclared(recipe)
            own = recipe if isinstance(recipe, Predictor) else None
            for backend in backends_of(recipe, options):
                label = label_of(recipe.name, backend)
                jobs[label] = TimingJob(
                    recipe.name, options, cases, images, undeclared, backend=backend
                )
                timings[label] = [
                    Timing(
                        recipe.name, case, load=reader.new_load(), predictor=own, backend=backend
                    )
                    for case in range(len(cases))
                ]
                needs[label] = _bytes_needed(recipe, device)
        for names in memory_groups(list(jobs), needs, _bytes_available(device)):
            workers: dict[str, Worker] = {}
            try:
                workers |= {name: Worker(make, jobs[name]) for name in names}
                take_turns(
                    workers, timings, options.schedule, first_round=first_round,
                    on_progress=on_progress, reader=reader,
                )  # fmt: skip
            finally:
                for worker in workers.values():
                    worker.close()
                every = [timing for several in timings.values() for timing in several]
                on_group([t for t in every if t.error or len(t.rounds) >= MIN_ROUNDS])
            first_round += options.schedule.rounds
    return every


def backends_of(recipe: Recipe | Predictor, options: SpeedOptions) -> tuple[str, ...]:
    """Return the backends on which a model is timed; that of a predictor may be unknown."""
    return (recipe.backend,) if isinstance(recipe, Predictor) else options.backends


def _undeclared(model: Recipe | Predictor) -> Predictor | None:
    """Return a predictor that other processes do not know by its name.

    Raises:
        UsageError: they cannot have it.
    """
    if isinstance(model, Recipe) or PREDICTORS.get(model.name) is model:
        return None
    try:
        pickle.dumps(model)
    except Exception as error:
        raise UsageError(
            f"Each model is timed in a process of its own, which cannot have the function of "
            f"{model.name} ({error}): define it in a file, and add that with `--plugin` or "
            "posebench.load_plugin."
        ) from None
    return model


def _bytes_needed(recipe: Recipe | Predictor, device: torch.device) -> int:
    if isinstance(recipe, Predictor):
        return _PROCESS_BYTES[device.type]  # what it needs besides is not known
    weights = sum(p.numel() * p.element_size() for p in meta_model(recipe).parameters())
    return _PROCESS_BYTES[device.type] + 4 * weights


def _bytes_available(device: torch.device) -> int:
    """Return how many bytes the models of a group may take together."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = 8 * 2**30  # where there is no /proc/meminfo
        info = Path("/proc/meminfo")
        if info.exists():
            lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
            free = int(lines["MemAvailable"].split()[0]) * 1024
    return int(_SHARE_OF_MEMORY * free)
