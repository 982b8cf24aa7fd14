"""Runs a whole study: plan, trainings, tests and analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from posebench.bench.ablation.analysis import Analysis, analyse
from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.parallel import NullWatcher, Watcher, run_tasks
from posebench.bench.ablation.plan import check_data, has_plan, make_plan, seconds_per_step
from posebench.bench.ablation.tasks import Task, list_tasks


@dataclass(frozen=True)
class StudyResult:
    """The state of a study after its tasks have run."""

    config: StudyConfig
    folder: Path  # of the study, below the results folder
    analysis: Analysis
    tasks: list[Task]
    failed: dict[Task, str]  # the tasks that failed, with the reason


def run_study(
    config: StudyConfig,
    folder: Path,
    seeds: Sequence[int],
    *,
    jobs: int = 1,
    ray_address: str | None = None,
    watcher: Watcher | None = None,
) -> StudyResult:
    """Train and test the variants of a study, compare them, and write the tables of the comparison.

    Trainings and tests that the results folder has are not repeated.

    Args:
        config: the study.
        folder: the results folder, `runs/ablate`.
        seeds: of the trainings.
        jobs: number of trainings that run at the same time; they share PyTorch's threads.
        ray_address: of a Ray cluster that runs them; None: this machine.
        watcher: is called while the study runs.

    Raises:
        UsageError: the study was begun with other options, or Ray is not installed.
        DataError: images are missing or wrong.
        ModelError: a recipe is for another skeleton.
        Interrupted: the user stopped it.
    """
    watcher = watcher or NullWatcher()
    check_data(config)
    threads = 0
    if jobs > 1:
        threads = max(torch.get_num_threads() // jobs, 1)
        torch.set_num_threads(threads)  # a budget is measured with a task's number of threads
    if config.budget_s and not has_plan(config, folder):
        watcher.on_measure()
    config = make_plan(config, folder, seconds_per_step)
    tasks = list_tasks(config, folder, seeds, threads)
    watcher.on_plan(config, tasks)
    failed = run_tasks(tasks, jobs, ray_address, watcher)
    analysis = analyse(config, folder, seeds)
    own = folder / config.name
    analysis.write(own)
    return StudyResult(config, own, analysis, tasks, failed)
