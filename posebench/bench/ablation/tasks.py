"""The tasks of a study: a training with the tests of its model.

A results folder (`runs/ablate`) has one folder per study and configuration, with `plan.json`, and
`trainings/`, which studies share. A finished training or test has a `done.json`, written last. A
training is locked while it runs, so that several studies or machines can share a results folder.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.experiments import Experiment, Training, resolve
from posebench.bench.ablation.subset import fit_to_steps
from posebench.engine import (
    Provenance,
    TrainOptions,
    evaluate,
    evaluate_ideal,
    evaluated_weights,
    provenance_of,
    read_checkpoint,
    tidy_rows,
    train,
    write_recipe,
    write_results,
)
from posebench.engine.callbacks import Callback, NullCallback
from posebench.engine.runs import environment, lock_run
from posebench.files import read_json, write_json
from posebench.skeleton import SKELETONS

_SAVE_EVERY_S = 60.0  # how much of a training is lost at most if it is killed


@dataclass(frozen=True)
class Task:
    """One training of a study, with the tests of its model."""

    config: StudyConfig
    folder: str  # results folder, `runs/ablate`
    key: str  # of the training; empty: the tests of ideal outputs
    seed: int
    threads: int = 0  # of PyTorch; 0: unchanged

    @property
    def experiments(self) -> list[Experiment]:
        """The experiments that share the training."""
        return [one for one in resolve(self.config) if _training_key(one) == self.key]

    @property
    def name(self) -> str:
        """The name for messages."""
        names = "; ".join(one.variant.name for one in self.experiments)
        return f"{names} (seed {self.seed})" if self.key else names

    @property
    def done(self) -> bool:
        """Whether all tests have results."""
        folder = Path(self.folder)
        return all(load_result(folder, one, self.seed) is not None for one in self.experiments)


def list_tasks(
    config: StudyConfig, folder: Path, seeds: Sequence[int], threads: int = 0
) -> list[Task]:
    """Return a study's tasks, seed by seed, so that an interrupted study has complete comparisons.

    Args:
        config: the study.
        folder: the results folder, `runs/ablate`.
        seeds: of the trainings; ideal outputs do not depend on a seed and are tested once.
        threads: of PyTorch in each task; 0: unchanged.
    """
    keys = dict.fromkeys(map(_training_key, resolve(config)))
    return [
        Task(config, str(folder), key, seed, threads)
        for seed in seeds
        for key in keys
        if key or seed == seeds[0]
    ]


def _training_key(experiment: Experiment) -> str:
    return experiment.training.key if experiment.training else ""


def run_folder(folder: Path, training: Training, seed: int) -> Path:
    """Return the run folder of a training."""
    return folder / "trainings" / training.folder(seed)


def result_folder(folder: Path, experiment: Experiment, seed: int) -> Path:
    """Return the folder with the results of an experiment's test."""
    if experiment.training is None:
        return folder / "trainings" / f"ideal_{experiment.recipe.name}_{experiment.key[:12]}"
    run = run_folder(folder, experiment.training, seed)
    return run if experiment.tested_by_training else run / "tests" / experiment.key[:12]


def load_result(folder: Path, experiment: Experiment, seed: int) -> dict[str, float] | None:
    """Return the metrics of an experiment's test, as fractions; None if it has not been done."""
    own = result_folder(folder, experiment, seed)
    if not (own / "done.json").is_file():
        return None
    metrics: dict[str, float] = read_json(own / "metrics.json", "the metrics of a test")
    return metrics


def provenance_of_result(folder: Path, experiment: Experiment, seed: int) -> Provenance:
    """Return what a finished test was computed from; tests of earlier versions do not say."""
    own = result_folder(folder, experiment, seed)
    done = read_json(own / "done.json", "the record of a test")
    return Provenance(**done.get("provenance", {}))


def run_task(task: Task, callback: Callback | None = None) -> None:
    """Run a task's training and tests; those that are done already are not repeated.

    Raises:
        RunLocked: another process is running the training.
        Interrupted: the user stopped it.
        PosebenchError: the training or a test fails; the message says why.
    """
    callback = callback or NullCallback()
    if task.threads:
        torch.set_num_threads(task.threads)
    folder, experiments = Path(task.folder), task.experiments
    training = experiments[0].training
    if training is not None:
        run = run_folder(folder, training, task.seed)
        _train(task.config, training, run, task.seed, callback)
    for experiment in experiments:
        if load_result(folder, experiment, task.seed) is None:
            _test(task.config, experiment, folder, task.seed, callback)


def _train(
    config: StudyConfig, training: Training, run: Path, seed: int, callback: Callback
) -> None:
    if (run / "done.json").is_file():
        return
    # `train` locks the run folder; this lock also covers the clean-up before that.
    with lock_run(run / "claim"):
        if (run / "done.json").is_file():
            return
        dataset = training.data.open(training.data_root)
        eval_set = training.data.eval_split().open(training.data_root)
        recipe = training.recipe
        if training.steps:
            recipe, dataset = fit_to_steps(recipe, training.steps, dataset)
        resume = (run / "checkpoints" / "last.safetensors").is_file()
        if not resume:  # an earlier start may have been killed before its first checkpoint
            (run / "log.jsonl").unlink(missing_ok=True)
        write_json(run / "environment.json", environment())
        start = time.perf_counter()
        evaluation = train(
            recipe, dataset, eval_set, run, train_options(config, seed), resume=resume,
            callback=callback,
        )  # fmt: skip
        provenance = provenance_of(
            recipe=recipe, dataset=eval_set, weights=evaluated_weights(run),
            seeds={"training": seed},
        )  # fmt: skip
        if not training.steps:  # a full schedule: its results belong in the papers' tables
            rows = tidy_rows(
                evaluation.metrics, recipe=recipe, dataset=eval_set.name, split=eval_set.split,
                tta=recipe.inference.label, device=torch.device(config.device),
                precision=config.precision, provenance=provenance,
            )  # fmt: skip
            write_results(run, rows)
        seconds = time.perf_counter() - start
        done = {"seconds": round(seconds, 1), "resumed": resume, "provenance": asdict(provenance)}
        write_json(run / "done.json", done)


def train_options(config: StudyConfig, seed: int) -> TrainOptions:
    """Return the options of a study's trainings."""
    return TrainOptions(
        torch.device(config.device), seed, config.workers,
        config.precision,  # type: ignore[arg-type]
        save_every_s=_SAVE_EVERY_S,
    )  # fmt: skip


def _test(
    config: StudyConfig, experiment: Experiment, folder: Path, seed: int, callback: Callback
) -> None:
    dataset = experiment.data.open(config.data_root)
    start = time.perf_counter()
    weights: Path | None = None
    if experiment.training is None:
        evaluation = evaluate_ideal(experiment.recipe, dataset, progress=callback.on_eval_progress)
    else:
        run = run_folder(folder, experiment.training, seed)
        # The last weights: the best ones were chosen by the very images of the test.
        weights = run / "checkpoints" / "last.safetensors"
        checkpoint = read_checkpoint(weights)
        recipe = replace(
            checkpoint.recipe,
            config=experiment.recipe.config,
            inference=experiment.recipe.inference,
        )
        evaluation = evaluate(
            replace(checkpoint, recipe=recipe).model().to(config.device), dataset,
            experiment.recipe.inference, workers=config.workers,
            precision=config.precision,  # type: ignore[arg-type]
            progress=callback.on_eval_progress,
        )  # fmt: skip
    own = result_folder(folder, experiment, seed)
    write_recipe(own, experiment.recipe, SKELETONS[experiment.data.skeleton])
    write_json(own / "metrics.json", evaluation.metrics)
    write_json(own / "predictions.json", evaluation.results)
    provenance = provenance_of(
        recipe=experiment.recipe, dataset=dataset, weights=weights,
        seeds={"training": seed if experiment.training else None},
    )  # fmt: skip
    seconds = round(time.perf_counter() - start, 1)
    write_json(own / "done.json", {"seconds": seconds, "provenance": asdict(provenance)})
