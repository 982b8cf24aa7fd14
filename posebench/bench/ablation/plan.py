"""The plan of a study: its configuration as it was begun, with the steps that a budget allows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.experiments import SplitSpec, Training, resolve
from posebench.bench.ablation.subset import fit_to_steps
from posebench.bench.ablation.tasks import train_options
from posebench.engine import fit_recipe, train
from posebench.engine.callbacks import NullCallback, StepReport
from posebench.engine.runs import RunLocked, environment, lock_run
from posebench.errors import UsageError
from posebench.files import read_json, write_json
from posebench.recipe import Recipe

_MEASURED_S, _MEASURED_STEPS = 5.0, 8  # steps are timed until either is exceeded
_POLL_S = 2.0  # pause while another process measures


def check_data(config: StudyConfig) -> None:
    """Open all images that a study needs, so that missing files are reported before it begins.

    Raises:
        DataError: files are missing or wrong.
        ModelError: a recipe is for another skeleton.
    """
    recipes: dict[SplitSpec, Recipe] = {}
    for experiment in resolve(config):
        recipes.setdefault(experiment.data, experiment.recipe)
        if experiment.training:
            for data in (experiment.training.data, experiment.training.data.eval_split()):
                recipes.setdefault(data, experiment.training.recipe)
    for data, recipe in recipes.items():
        fit_recipe(recipe, data.open(config.data_root))


def has_plan(config: StudyConfig, folder: Path) -> bool:
    """Return whether the study has been begun in a results folder."""
    return (folder / config.name / "plan.json").is_file()


def make_plan(
    config: StudyConfig, folder: Path, measure: Callable[[StudyConfig], float]
) -> StudyConfig:
    """Return the configuration with which a study was begun in a results folder, or begin it.

    The number of steps that the budget allows is measured when the study is begun, and stored; a
    continued study trains for the same number.

    Args:
        config: the study; its device and its workers may differ from those it was begun with.
        folder: the results folder, `runs/ablate`.
        measure: returns the seconds per step of a study's slowest training.

    Raises:
        UsageError: the study was begun with other options.
    """
    own = folder / config.name
    path = own / "plan.json"
    while not path.is_file():
        try:
            with lock_run(own):
                if not path.is_file():
                    write_json(own / "environment.json", environment())
                    write_json(path, asdict(_with_steps(config, measure)))
        except RunLocked:  # another process measures
            time.sleep(_POLL_S)
    begun = _read_plan(path)
    different = [
        name
        for name, value in asdict(begun).items()
        if name not in ("steps", "device", "workers") and value != getattr(config, name)
    ]
    if different:
        raise UsageError(
            f"{own} was begun with another {', '.join(different)}: repeat the options it was begun "
            "with, or choose another --runs."
        )
    return replace(begun, device=config.device, workers=config.workers)


def _read_plan(path: Path) -> StudyConfig:
    values = read_json(path, "the plan of a study")
    try:
        return StudyConfig(**{**values, "settings": tuple(values["settings"])})
    except (TypeError, KeyError) as error:
        raise UsageError(
            f"{path} was written by another version of posebench ({error}): choose another --runs."
        ) from None


def _with_steps(config: StudyConfig, measure: Callable[[StudyConfig], float]) -> StudyConfig:
    if not config.budget_s:
        return config
    return replace(config, steps=max(int(config.budget_s / measure(config)), 1))


# -------------------------------------------------------------------------------- time of a step


class _EnoughSteps(Exception):
    """Ends a training of which enough steps have been timed."""


class _StepTimer(NullCallback):
    """Records the time at the end of each step, and ends the training after a few."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, report: StepReport) -> None:
        self.times.append(time.perf_counter())
        elapsed = self.times[-1] - self.times[0]
        if len(self.times) > 2 and (elapsed > _MEASURED_S or len(self.times) > _MEASURED_STEPS):
            raise _EnoughSteps


def seconds_per_step(config: StudyConfig) -> float:
    """Measure the seconds per step of a study's slowest training on this machine."""
    different = {repr(one.training.recipe): one.training for one in resolve(config) if one.training}
    return max(_seconds_per_step(config, training) for training in different.values())


def _seconds_per_step(config: StudyConfig, training: Training) -> float:
    timer = _StepTimer()
    dataset = training.data.open(training.data_root)
    recipe, subset = fit_to_steps(training.recipe, 10 * _MEASURED_STEPS, dataset)
    with tempfile.TemporaryDirectory() as run, suppress(_EnoughSteps):
        train(
            replace(recipe, pretrained=False), subset, dataset, Path(run),
            train_options(config, 0), callback=timer,
        )  # fmt: skip
    return median(later - earlier for earlier, later in pairwise(timer.times))
