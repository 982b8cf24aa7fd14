"""Runs a study: trains what is not trained yet, tests what is not tested yet.

A results folder (`runs/ablate`) has a folder for each study as it was set up, with `plan.json`, and
`trainings/`, which studies share. What is done carries a file that says so, written last; a
training is claimed while it is worked at, so that two studies, or two machines, may use one folder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch

from posebench.bench.ablation import Line, Place, Setup, Training, fitted, resolve
from posebench.engine import (
    TrainOptions,
    check_recipe,
    evaluate,
    evaluate_ideal,
    read_checkpoint,
    tidy_rows,
    train,
    write_recipe,
    write_results,
)
from posebench.engine.callbacks import Callback, NullCallback, StepReport
from posebench.engine.runs import RunLocked, environment, lock_run
from posebench.errors import UsageError
from posebench.files import read_json, write_json
from posebench.recipe import Recipe
from posebench.structures import SKELETONS

_SAVE_EVERY_S = 60.0  # of a training: what a kill may cost
_MEASURED_S, _MEASURED_STEPS = 5.0, 8  # of a measurement, at most
_BUSY_S = 2.0  # between looks at what another process works at


@dataclass(frozen=True)
class Task:
    """One training of a study with the tests that belong to it."""

    setup: Setup
    folder: str  # of the results: `runs/ablate`
    key: str  # of the training; empty: ideal outputs
    seed: int
    threads: int = 0  # of PyTorch; 0: as they are

    @property
    def lines(self) -> list[Line]:
        return [
            line
            for line in resolve(self.setup)
            if (line.training.key if line.training else "") == self.key
        ]

    @property
    def name(self) -> str:
        """What to call it in messages."""
        names = "; ".join(line.variant.name for line in self.lines)
        return f"{names} (seed {self.seed})" if self.key else names

    @property
    def done(self) -> bool:
        return all(tested(Path(self.folder), line, self.seed) is not None for line in self.lines)


def tasks(setup: Setup, folder: Path, seeds: Sequence[int], threads: int = 0) -> list[Task]:
    """Return a study's tasks, seed by seed, so that whoever stops has whole comparisons."""
    keys = dict.fromkeys(line.training.key if line.training else "" for line in resolve(setup))
    # Ideal outputs do not depend on a seed.
    return [
        Task(setup, str(folder), key, seed, threads)
        for seed in seeds
        for key in keys
        if key or seed == seeds[0]
    ]


def check(setup: Setup) -> None:
    """Open all images that a study needs, so that what is missing is said before anything is done.

    Raises:
        DataError: files are not there or wrong.
        ModelError: a recipe is for other keypoints.
    """
    wanted: dict[Place, Recipe] = {}
    for line in resolve(setup):
        wanted.setdefault(line.place, line.recipe)
        if line.training:
            for place in (line.training.place, line.training.place.usual_test()):
                wanted.setdefault(place, line.training.recipe)
    for place, recipe in wanted.items():
        check_recipe(recipe, place.open(setup.data_root))


# ------------------------------------------------------------------------------------------- plans


def plan(setup: Setup, folder: Path, measure: Callable[[Setup], float]) -> Setup:
    """Return a study's setup as it was begun in a results folder, or begin it.

    A budget becomes a number of steps by a measurement, once: continued, a study has the same.

    Raises:
        UsageError: the study was begun with other options.
    """
    own = folder / setup.name
    path = own / "plan.json"
    while not path.is_file():
        try:
            with lock_run(own):
                if not path.is_file():
                    write_json(own / "environment.json", environment())
                    write_json(path, asdict(_with_steps(setup, measure)))
        except RunLocked:  # another process measures
            time.sleep(_BUSY_S)
    begun = _read_plan(path)
    different = [
        name
        for name, value in asdict(begun).items()
        if name not in ("steps", "device", "workers") and value != getattr(setup, name)
    ]
    if different:
        raise UsageError(
            f"{own} was begun with another {', '.join(different)}: continue it with the options it "
            "began with, or choose another --runs."
        )
    return replace(begun, device=setup.device, workers=setup.workers)


def _read_plan(path: Path) -> Setup:
    values = read_json(path, "the plan of a study")
    try:
        return Setup(**{**values, "settings": tuple(values["settings"])})
    except (TypeError, KeyError) as error:
        raise UsageError(
            f"{path} is of another version of posebench ({error}): choose another --runs."
        ) from None


def _with_steps(setup: Setup, measure: Callable[[Setup], float]) -> Setup:
    if not setup.budget_s:
        return setup
    return replace(setup, steps=max(int(setup.budget_s / measure(setup)), 1))


class _Measured(Exception):
    """A measurement has seen enough."""


class _Clock(NullCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, report: StepReport) -> None:
        self.times.append(time.perf_counter())
        elapsed = self.times[-1] - self.times[0]
        if len(self.times) > 2 and (elapsed > _MEASURED_S or len(self.times) > _MEASURED_STEPS):
            raise _Measured


def seconds_per_step(setup: Setup) -> float:
    """Return what a step of the slowest training of a study takes on this machine."""
    different = {
        repr(line.training.recipe): line.training for line in resolve(setup) if line.training
    }
    return max(_seconds_per_step(setup, training) for training in different.values())


def _seconds_per_step(setup: Setup, training: Training) -> float:
    clock = _Clock()
    dataset = training.place.open(training.data_root)
    recipe, part = fitted(training.recipe, 10 * _MEASURED_STEPS, dataset)
    with tempfile.TemporaryDirectory() as place, suppress(_Measured):
        train(
            replace(recipe, pretrained=False), part, dataset, Path(place), _options(setup, 0),
            callback=clock,
        )  # fmt: skip
    return median(b - a for a, b in pairwise(clock.times))


def _options(setup: Setup, seed: int) -> TrainOptions:
    return TrainOptions(
        torch.device(setup.device), seed, setup.workers, setup.precision,  # type: ignore[arg-type]
        save_every_s=_SAVE_EVERY_S,
    )  # fmt: skip


# -------------------------------------------------------------------------------- trainings, tests


def training_folder(folder: Path, training: Training, seed: int) -> Path:
    return folder / "trainings" / training.folder(seed)


def test_folder(folder: Path, line: Line, seed: int) -> Path:
    """Return where the test of a line lies."""
    if line.training is None:
        return folder / "trainings" / f"ideal_{line.recipe.name}_{line.key[:12]}"
    own = training_folder(folder, line.training, seed)
    return own if line.by_training else own / "tests" / line.key[:12]


def tested(folder: Path, line: Line, seed: int) -> dict[str, float] | None:
    """Return the metrics of a line's test, as fractions; None: there are none yet."""
    place = test_folder(folder, line, seed)
    if not (place / "done.json").is_file():
        return None
    metrics: dict[str, float] = read_json(place / "metrics.json", "the metrics of a test")
    return metrics


def work(task: Task, callback: Callback | None = None) -> None:
    """Train and test what a task has, unless it is done.

    Raises:
        RunLocked: another process works at it.
        Interrupted: the user stopped it.
        PosebenchError: it cannot be done; the message says why.
    """
    if task.threads:
        torch.set_num_threads(task.threads)
    folder, lines = Path(task.folder), task.lines
    training = lines[0].training
    if training is not None:
        _train(task.setup, training, training_folder(folder, training, task.seed), task.seed,
               callback or NullCallback())  # fmt: skip
    for line in lines:
        if tested(folder, line, task.seed) is None:
            _test(task.setup, line, folder, task.seed, callback or NullCallback())


def _train(setup: Setup, training: Training, run: Path, seed: int, callback: Callback) -> None:
    if (run / "done.json").is_file():
        return
    # A claim apart from the run's own, which `train` takes: what a kill left is mended under it.
    with lock_run(run / "claim"):
        if (run / "done.json").is_file():
            return
        dataset = training.place.open(training.data_root)
        eval_set = training.place.usual_test().open(training.data_root)
        recipe = training.recipe
        if training.steps:
            recipe, dataset = fitted(recipe, training.steps, dataset)
        resume = (run / "checkpoints" / "last.safetensors").is_file()
        if not resume:
            (run / "log.jsonl").unlink(missing_ok=True)  # of a start that saved nothing
        write_json(run / "environment.json", environment())
        start = time.perf_counter()
        evaluation = train(
            recipe, dataset, eval_set, run, _options(setup, seed), resume=resume, callback=callback
        )
        if not training.steps:  # a schedule of its own: also a row of the papers' tables
            rows = tidy_rows(
                evaluation.metrics, recipe=recipe, dataset=eval_set.name, split=eval_set.split,
                tta=recipe.inference.label, device=torch.device(setup.device),
                precision=setup.precision,
            )  # fmt: skip
            write_results(run, rows)
        seconds = time.perf_counter() - start
        write_json(run / "done.json", {"seconds": round(seconds, 1), "resumed": resume})


def _test(setup: Setup, line: Line, folder: Path, seed: int, callback: Callback) -> None:
    data = line.place.open(setup.data_root)
    place = test_folder(folder, line, seed)
    start = time.perf_counter()
    if line.training is None:
        evaluation = evaluate_ideal(line.recipe, data, progress=callback.on_eval_progress)
    else:
        run = training_folder(folder, line.training, seed)
        # The last weights and not the best, which would be chosen by the images of the test.
        checkpoint = read_checkpoint(run / "checkpoints" / "last.safetensors")
        trained = replace(
            checkpoint.recipe, config=line.recipe.config, inference=line.recipe.inference
        )
        model = replace(checkpoint, recipe=trained).model().to(setup.device)
        evaluation = evaluate(
            model, data, line.recipe.inference,
            workers=setup.workers, precision=setup.precision,  # type: ignore[arg-type]
            progress=callback.on_eval_progress,
        )  # fmt: skip
    write_recipe(place, line.recipe, SKELETONS[line.place.skeleton])
    write_json(place / "metrics.json", evaluation.metrics)
    write_json(place / "predictions.json", evaluation.results)
    write_json(place / "done.json", {"seconds": round(time.perf_counter() - start, 1)})
