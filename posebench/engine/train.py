"""The training loop, one for all methods.

A run is a sequence of passes that depends on the seed alone (`data.loader.Plan`); its state is
saved between optimizer steps, so a resumed run continues bit for bit on the same machine.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from posebench.data.base import PoseDataset
from posebench.data.loader import Pass, Plan, Unreadable, training_passes
from posebench.engine.checkpoint import TrainingState, load_weights, save_weights
from posebench.engine.evaluate import Evaluation, Precision, autocast, evaluate
from posebench.engine.runs import write_recipe
from posebench.errors import DataError, ModelError, PosebenchError
from posebench.files import write_json
from posebench.models import PoseModel
from posebench.recipe import Recipe, recipe_to_json
from posebench.structures import Batch

SAVE_EVERY_SECONDS = 600  # between epochs too, so that a lost machine costs ten minutes


class Interrupted(PosebenchError):
    """The user stopped the run; its state is saved."""


@dataclass(frozen=True)
class TrainOptions:
    """What changes between runs of one recipe."""

    device: torch.device
    seed: int = 0
    workers: int = 0
    precision: Precision = "fp32"
    strict: bool = False


@dataclass(frozen=True)
class StepReport:
    """One optimizer step."""

    step: int  # from 1
    steps: int  # of the whole run
    epoch: int  # from 1
    lr: float
    loss: float
    terms: dict[str, float]
    images_per_second: float


class Reporter(Protocol):
    """Whoever watches a run: the command line, or nobody."""

    def stepped(self, report: StepReport) -> None: ...
    def evaluating(self, done: int, total: int) -> None: ...
    def evaluated(self, epoch: int, evaluation: Evaluation, best: bool) -> None: ...
    def unreadable(self, image: Unreadable) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def stepped(self, report: StepReport) -> None: ...
    def evaluating(self, done: int, total: int) -> None: ...
    def evaluated(self, epoch: int, evaluation: Evaluation, best: bool) -> None: ...
    def unreadable(self, image: Unreadable) -> None: ...


class TrainStep(nn.Module):
    """A model whose forward is its loss, so that a parallel wrapper's hooks run."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.model.loss(batch)


@dataclass(frozen=True)
class Schedule:
    """Where optimizer steps fall, and at which rate."""

    recipe: Recipe
    plan: Plan

    @property
    def passes_per_step(self) -> int:
        return max(self.recipe.batch_size // self.plan.images_per_pass, 1)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.plan.passes_per_epoch // self.passes_per_step)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.recipe.epochs

    def first_pass(self, step: int) -> int:
        """Return the number of the first pass of optimizer step `step`, counted from 0."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return epoch * self.plan.passes_per_epoch + within * self.passes_per_step

    def lr(self, step: int) -> float:
        """Return the learning rate of optimizer step `step`, counted from 0."""
        recipe = self.recipe
        if step < recipe.warmup_steps:
            return recipe.lr * (step + 1) / recipe.warmup_steps
        if recipe.schedule == "cosine":
            done = (step - recipe.warmup_steps) / max(self.steps - recipe.warmup_steps, 1)
            return recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
        epoch = step // self.steps_per_epoch
        drops = sum(epoch >= drop for drop in recipe.lr_drops)
        return recipe.lr * 0.1**drops


def train(
    recipe: Recipe,
    dataset: PoseDataset,
    eval_dataset: PoseDataset,
    run: Path,
    options: TrainOptions,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Train a recipe and return the evaluation of its last epoch.

    The run folder receives `recipe.json`, `log.jsonl` (a line per optimizer step and evaluation),
    `checkpoints/` with `last` and `best` by AP, and `metrics.json`.

    Args:
        resume: continue the run in the folder from its last checkpoint.

    Raises:
        DataError: nothing to train on, or an image cannot be read and `options.strict` is set.
        ModelError: the run to resume has another recipe or no usable state.
        Interrupted: the user stopped it.
        PosebenchError: the loss is not finite; the message has the step, the images and the terms.
    """
    trainer = _Trainer(recipe, dataset, eval_dataset, run, options, reporter or Silent())
    try:
        return trainer.run(resume)
    except torch.OutOfMemoryError as error:
        raise PosebenchError(
            f"The device has too little memory for {trainer.plan.images_per_pass} images at once: "
            f"start again with --set images_per_pass={max(trainer.plan.images_per_pass // 2, 1)}."
        ) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise PosebenchError(
            "A process that loads images was killed, most often for lack of memory: continue with "
            f"--resume {run}, and fewer --workers."
        ) from error


class _Trainer:
    def __init__(
        self,
        recipe: Recipe,
        dataset: PoseDataset,
        eval_dataset: PoseDataset,
        folder: Path,
        options: TrainOptions,
        reporter: Reporter,
    ) -> None:
        indices = dataset.labelled()
        if not indices:
            raise DataError(
                f"{dataset.name} {dataset.split} has {len(dataset)} images, but on none of them a "
                "keypoint is labelled: there is nothing to train on."
            )
        self.recipe, self.dataset, self.eval_dataset = recipe, dataset, eval_dataset
        self.folder, self.options, self.reporter = folder, options, reporter
        self.plan = Plan(
            indices, min(recipe.images_per_pass, recipe.batch_size), options.seed, recipe.epochs
        )
        self.schedule = Schedule(recipe, self.plan)
        self.state = TrainingState(folder / "checkpoints")
        self.log = Log(folder / "log.jsonl")
        torch.manual_seed(options.seed)  # the initial weights
        self.model: PoseModel = recipe.build(recipe.config, dataset.skeleton)
        self.unreadable: dict[int, Unreadable] = {}
        self.best = -1.0  # below every AP; -1 itself says that there was nothing to find

    def run(self, resume: bool) -> Evaluation:
        saved = self._restore() if resume else None
        step = saved["step"] if saved else 0
        if not saved:
            if self.recipe.pretrained:
                self.model.load_pretrained()
            write_recipe(self.folder, self.recipe, self.dataset.skeleton)
        # Convolutions on a CPU and on tensor cores are faster with the channels innermost.
        self.model.to(self.options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = self._optimizer()
        if saved:
            optimizer.load_state_dict(saved["optimizer"])
        passes = training_passes(
            self.dataset,
            self.recipe.augment,
            self.plan,
            start=self.schedule.first_pass(step),
            workers=self.options.workers,
        )
        evaluation: Evaluation | None = None
        with interruptible() as stop:
            last_save = time.monotonic()
            while step < self.schedule.steps:
                self._step(step, optimizer, passes)
                step += 1
                epoch_done = step % self.schedule.steps_per_epoch == 0
                epoch = step // self.schedule.steps_per_epoch
                if stop.is_set() or time.monotonic() - last_save > SAVE_EVERY_SECONDS:
                    self._save(step, optimizer)
                    last_save = time.monotonic()
                if stop.is_set():
                    raise Interrupted(
                        f"Stopped after step {step} of {self.schedule.steps}. "
                        f"Continue with --resume {self.folder}"
                    )
                if epoch_done:
                    due = epoch % self.recipe.evaluate_every == 0 or epoch == self.recipe.epochs
                    # Before the evaluation, which may take long and fail, and after it, since it
                    # may have found a new best.
                    self._save(step, optimizer)
                    if due:
                        evaluation = self._evaluate(step, epoch)
                        self._save(step, optimizer)
                    last_save = time.monotonic()
        # A run that was complete when it was resumed has only its evaluation left to give.
        evaluation = evaluation or self._evaluate(step, self.recipe.epochs)
        write_json(self.folder / "metrics.json", evaluation.metrics)
        write_json(self.folder / "predictions.json", evaluation.results)
        return evaluation

    def _restore(self) -> dict[str, Any]:
        checkpoint, optimizer = self.state.read()
        skeleton = self.dataset.skeleton
        saved = recipe_to_json(checkpoint.recipe, checkpoint.skeleton)
        wanted = recipe_to_json(self.recipe, skeleton)
        different = [name for name in wanted if wanted[name] != saved.get(name)]
        if different:
            raise ModelError(
                f"{self.folder} was trained with another recipe ({checkpoint.recipe.name}; "
                f"different: {', '.join(different)}): resume it with the options it started with, "
                "or start a new run."
            )
        if checkpoint.facts["seed"] != self.options.seed:
            raise ModelError(
                f"{self.folder} was trained with --seed {checkpoint.facts['seed']}, "
                f"not {self.options.seed}: resume it with the same seed."
            )
        load_weights(self.model, checkpoint.weights, str(self.folder))
        self.best = checkpoint.facts["best"]
        # A killed run has logged steps that its checkpoint does not know; they come again.
        self.log.cut(checkpoint.facts["step"])
        return {"step": checkpoint.facts["step"], "optimizer": optimizer}

    def _optimizer(self) -> torch.optim.Optimizer:
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer: torch.optim.Optimizer = kinds[self.recipe.optimizer](
            # Fused: one kernel instead of ten per tensor, 5 ms a step less for cid_tiny.
            parameters,
            lr=self.recipe.lr,
            weight_decay=self.recipe.weight_decay,
            fused=True,
        )
        return optimizer

    def _step(self, step: int, optimizer: torch.optim.Optimizer, passes: Iterator[Pass]) -> None:
        start = time.perf_counter()
        first = self.schedule.first_pass(step)
        count = self.schedule.first_pass(step + 1) - first
        lr = self.schedule.lr(step)
        for group in optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        optimizer.zero_grad()
        terms: dict[str, float] = {}
        images = 0
        for loaded in islice(passes, count):
            self._note(loaded.unreadable)
            if loaded.batch is None:
                continue
            images += len(loaded.batch)
            for name, value in self._backward(loaded.batch, step, count).items():
                terms[name] = terms.get(name, 0.0) + value / count
        if images:
            if self.recipe.clip_norm:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
            optimizer.step()
        report = StepReport(
            step=step + 1,
            steps=self.schedule.steps,
            epoch=step // self.schedule.steps_per_epoch + 1,
            lr=lr,
            loss=sum(terms.values()),
            terms=terms,
            images_per_second=images / (time.perf_counter() - start),
        )
        self.log.write(
            {
                "step": report.step,
                "epoch": report.epoch,
                "lr": lr,
                "loss": report.loss,
                **terms,
                "images_per_second": round(report.images_per_second, 2),
            }
        )
        self.reporter.stepped(report)

    def _backward(self, batch: Batch, step: int, passes: int) -> dict[str, float]:
        batch = batch.to(self.options.device)
        with autocast(self.options.device, self.options.precision):
            terms = TrainStep(self.model)(batch)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            found = ", ".join(f"{name} {value.item():g}" for name, value in terms.items())
            raise PosebenchError(
                f"The loss is not finite at step {step + 1} ({found}) on the images "
                f"{', '.join(batch.names)}. Lower the rate (--set lr={self.recipe.lr / 2:g}) and "
                "start again, or --resume from the last checkpoint, which is as it was."
            )
        (total / passes).backward()  # type: ignore[no-untyped-call]
        return {name: value.item() for name, value in terms.items()}

    def _note(self, unreadable: list[Unreadable]) -> None:
        for image in unreadable:
            if self.options.strict:
                raise DataError(image.message)
            if image.index not in self.unreadable:
                self.unreadable[image.index] = image
                self.log.write({"unreadable": image.message})
                self.reporter.unreadable(image)
        if len(self.unreadable) == len(self.plan.indices):
            raise DataError(
                f"None of the {len(self.plan.indices)} images of {self.dataset.name} "
                f"{self.dataset.split} can be read; the first: {unreadable[0].message}"
            )

    def _save(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        facts = {
            "step": step,
            "seed": self.options.seed,
            "best": self.best,
            "dataset": self.dataset.name,
        }
        self.state.save(self.model, self.recipe, self.dataset.skeleton, facts, optimizer)

    def _evaluate(self, step: int, epoch: int) -> Evaluation:
        evaluation = evaluate(
            self.model,
            self.eval_dataset,
            self.recipe.test_time,
            workers=self.options.workers,
            precision=self.options.precision,
            strict=self.options.strict,
            progress=self.reporter.evaluating,
        )
        ap = evaluation.metrics["AP"]
        best = ap > self.best
        if best:
            self.best = ap
            facts = {
                "step": step,
                "epoch": epoch,
                "metrics": evaluation.metrics,
                "dataset": self.dataset.name,
            }
            path = self.folder / "checkpoints" / "best.safetensors"
            save_weights(path, self.model, self.recipe, self.dataset.skeleton, facts)
        self.log.write({"step": step, "epoch": epoch, "metrics": evaluation.metrics})
        self.reporter.evaluated(epoch, evaluation, best)
        return evaluation


class Log:
    """`log.jsonl`: a JSON object per line, one line per event."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, entry: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Return the entries; a line that a crash cut short is left out."""
        entries = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return entries

    def cut(self, step: int) -> None:
        """Drop what was logged after a step."""
        kept = [entry for entry in self.read() if entry.get("step", 0) <= step]
        self.path.write_text("".join(json.dumps(e) + "\n" for e in kept), encoding="utf-8")


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's log, in order."""
    return Log(run / "log.jsonl").read()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or a termination signal sets; a second one stops at once."""
    stop = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python takes signals in the main thread only
        return
    previous = {s: signal.signal(s, request) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
