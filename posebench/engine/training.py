"""The training loop, one for all methods.

A run is a sequence of micro-batches that is determined by the recipe, the seed and the world size
(`data.loader.MicroBatchSampler`). Its state is saved between optimizer steps, so a resumed run
continues bit for bit on the same machine.

With several ranks (`torchrun`) each loads its part of the joint batch, gradients are averaged, and
rank 0 writes the run folder.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from posebench.data.base import PoseDataset
from posebench.data.limited import FirstImages
from posebench.data.loader import MicroBatch, Unreadable, micro_batches
from posebench.data.statistics import keypoint_statistics
from posebench.distributed import (
    all_reduce_,
    any_rank,
    broadcast_,
    broadcast_object,
    rank,
    world_size,
)
from posebench.engine.callbacks import (
    Callback,
    NullCallback,
    StepReport,
    announce,
    announce_stop,
)
from posebench.engine.checkpoint import Checkpoint, TrainingState, load_weights, save_weights
from posebench.engine.evaluation import Evaluation, autocast, evaluate
from posebench.engine.interrupts import interruptible
from posebench.engine.log import Log
from posebench.engine.optimizer import frozen_part, make_optimizer
from posebench.engine.request import TrainingRequest
from posebench.engine.resuming import check_recipe_of_run
from posebench.engine.runs import lock_run, resume_command, resume_words, write_facts, write_recipe
from posebench.engine.schedule import step_schedule
from posebench.engine.starting import start_from
from posebench.errors import DataError, Interrupted, ModelError, PosebenchError
from posebench.files import write_json
from posebench.metrics import main_metric
from posebench.models import PoseModel
from posebench.recipe import Precision, Recipe
from posebench.structures import Batch, KeypointStatistics

SAVE_EVERY_SECONDS = 600.0  # so that a lost machine costs ten minutes


@dataclass(frozen=True)
class TrainOptions:
    """Options that may differ between runs of one recipe."""

    device: torch.device
    seed: int = 0
    workers: int = 0
    precision: Precision = "fp32"
    strict: bool = False
    save_every_s: float = SAVE_EVERY_SECONDS  # between epochs too
    compiler: str = ""  # backend of torch.compile, which computes the network; empty: PyTorch does


class TrainStep(nn.Module):
    """A module whose forward is the model's loss, so that DDP's hooks run."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.model.loss(batch)


def train(
    recipe: Recipe,
    dataset: PoseDataset,
    eval_dataset: PoseDataset,
    run: Path,
    options: TrainOptions,
    *,
    resume: bool = False,
    callback: Callback | None = None,
    request: TrainingRequest | None = None,
    weights: Checkpoint | None = None,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Train a recipe and return the evaluation of its last epoch.

    The run folder receives `recipe.json`, `log.jsonl` (a line per optimizer step and evaluation),
    `checkpoints/` with `last` and `best` by AP, and `metrics.json`.

    Args:
        resume: continue from the last checkpoint in the folder.
        request: what the training was asked for, to be written as `request.json`, from which it can
            be resumed without repeating anything; None: nothing is written.
        weights: what a new run starts from in place of ImageNet weights, as far as it fits;
            `weights.json` lists what was taken.
        notes: sentences for the callback, at the start.

    Raises:
        DataError: no image has a labelled keypoint, or one cannot be read and `options.strict` is
            set.
        ModelError: the run to resume has another recipe or no usable state, or the weights do not
            fit.
        Interrupted: the user stopped it.
        PosebenchError: the loss is not finite; the message names the step, images and terms.
    """
    callback = callback or NullCallback()
    callback.on_start(run)
    for note in notes:
        announce(callback, note)
    trainer = _Trainer(recipe, dataset, eval_dataset, run, options, callback)
    try:
        with lock_run(run):
            return trainer.run(resume, request, weights)
    except torch.OutOfMemoryError as error:
        size = trainer.sampler.micro_batch_size
        raise PosebenchError(
            f"The device has too little memory for {size} images at once: start again with "
            f"--set micro_batch_size={max(size // 2, 1)}."
        ) from error
    except RuntimeError as error:
        if _lost_other_ranks(error):
            raise PosebenchError(
                f"Rank {rank()} of {world_size()} lost the others: one of them was stopped "
                f"or has failed; its own message says why. Continue with: {resume_command(run)}"
            ) from error
        if "DataLoader worker" not in str(error):
            raise
        raise PosebenchError(
            "A process that loads images was killed, probably for lack of memory. Continue with "
            f"fewer of them: {resume_command(run)} --workers {options.workers // 2}"
        ) from error


def _lost_other_ranks(error: RuntimeError) -> bool:
    # gloo raises plain RuntimeErrors, whose text names its source file.
    return world_size() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error))


def _may_leave_evaluation() -> bool:
    """Return whether an evaluation may be left early: of several ranks, the others would wait."""
    return world_size() == 1


def _no_sync(train_step: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which gradients are accumulated without being all-reduced."""
    if isinstance(train_step, DistributedDataParallel):
        return train_step.no_sync()
    return nullcontext()


class _Trainer:
    def __init__(
        self,
        recipe: Recipe,
        dataset: PoseDataset,
        eval_dataset: PoseDataset,
        folder: Path,
        options: TrainOptions,
        callback: Callback,
    ) -> None:
        indices = dataset.labelled()
        if not indices:
            raise DataError(
                f"{dataset.name} {dataset.split} has {len(dataset)} images, but no labelled "
                "keypoint on any of them: there is nothing to train on."
            )
        self.recipe, self.dataset, self.eval_dataset = recipe, dataset, eval_dataset
        self.folder, self.options, self.callback = folder, options, callback
        self.schedule = step_schedule(recipe, indices, options.seed)
        self.sampler = self.schedule.sampler
        self.state = TrainingState(folder / "checkpoints")
        self.log = Log(folder / "log.jsonl")
        torch.manual_seed(options.seed)  # the initial weights
        self.model: PoseModel = recipe.build(dataset.skeleton)
        self.averaged: _Average | None = None
        self.frozen: nn.Module | None = None
        self.unreadable: dict[int, Unreadable] = {}
        self.evaluated = 0  # the step of the last evaluation
        self.started_from = ""  # the weights of another run
        self.licence = ""  # of these weights, if one is known
        self.best = -1.0  # -1 is also the metric where there is no ground truth

    def run(
        self, resume: bool, request: TrainingRequest | None, weights: Checkpoint | None
    ) -> Evaluation:
        saved = self._restore() if resume else None
        if request and rank() == 0:
            request.write(self.folder)
        step = saved["step"] if saved else 0
        if not saved:
            self._begin(weights, request)
        self.frozen = frozen_part(self.recipe, self.model)
        # Convolutions on a CPU and on tensor cores are faster with channels last.
        self.model.to(self.options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.options.compiler:
            self.model.compile_network(self.options.compiler)
        train_step = self._train_step()
        optimizer = make_optimizer(self.recipe, self.model)
        if self.recipe.ema_decay:
            self.averaged = _Average(self.model, self.recipe.ema_decay)
        if saved:
            optimizer.load_state_dict(saved["optimizer"])
            if self.averaged:
                self.averaged.load_state_dict(saved["averaged"])
        batches = micro_batches(
            self.dataset,
            self.recipe.augment,
            self.sampler,
            start=self.schedule.first_micro_batch(step),
            workers=self.options.workers,
            pin=self.options.device.type == "cuda",
            targets=self.model.target_builder(),
        )
        evaluation: Evaluation | None = None
        stopping = False
        with interruptible(partial(announce_stop, self.callback)) as stop:
            last_save = time.monotonic()
            while True:
                if stopping:  # before an evaluation, which may take long
                    raise self._interrupted(step)
                if self._evaluation_due(step):
                    evaluation = self._evaluate(step, stop)
                    self._save(step, optimizer)  # the best metric may have changed
                if step == self.schedule.steps:
                    break
                self._step(step, train_step, optimizer, batches)
                step += 1
                [stopping] = any_rank([stop.is_set()], self.options.device)
                # An evaluation takes long and may fail, so the state is saved before it.
                epoch_done = step % self.schedule.steps_per_epoch == 0
                overdue = time.monotonic() - last_save > self.options.save_every_s
                if epoch_done or overdue or stopping:
                    self._save(step, optimizer)
                    last_save = time.monotonic()
            # A run that was already complete when it was resumed is evaluated again.
            evaluation = evaluation or self._evaluate(step, stop)
            if rank() == 0:
                write_json(self.folder / "metrics.json", evaluation.metrics)
                write_facts(self.folder, self.eval_dataset)
                write_json(self.folder / "predictions.json", evaluation.results)
            # Several ranks finish their evaluation before they stop.
            [stopping] = any_rank([stop.is_set()], self.options.device)
            if stopping:
                raise self._interrupted(step)
        return evaluation

    def _begin(self, weights: Checkpoint | None, request: TrainingRequest | None) -> None:
        """Give a new run its first weights."""
        if weights:
            source = request.weights if request and request.weights else str(weights.path)
            taken = start_from(self.model, weights, source)
            self.started_from = source
            self.licence = weights.facts.get("licence", "")
            if rank() == 0:
                write_json(self.folder / "weights.json", taken.to_json())
            announce(self.callback, taken.line())
        elif self.recipe.pretrained:
            self.model.load_pretrained()
        self.model.prepare(self._statistics)
        if rank() == 0:
            write_recipe(self.folder, self.recipe, self.dataset.skeleton)

    def _interrupted(self, step: int) -> Interrupted:
        return Interrupted(
            f"Stopped after step {step} of {self.schedule.steps}.",
            command=resume_words(self.folder),
        )

    def _statistics(self) -> KeypointStatistics:
        # Only rank 0 measures: it is slow on synthetic data, and all ranks would write one file.
        measured = broadcast_object(keypoint_statistics(self.dataset) if rank() == 0 else None)
        assert measured is not None  # by rank 0
        return measured

    def _restore(self) -> dict[str, Any]:
        checkpoint, state = self.state.read()
        skeleton = self.dataset.skeleton
        note = check_recipe_of_run(self.folder, checkpoint, self.schedule, skeleton)
        if checkpoint.facts["seed"] != self.options.seed:
            raise ModelError(
                f"{self.folder} was trained with --seed {checkpoint.facts['seed']}, "
                f"not {self.options.seed}: resume it with the same seed."
            )
        if checkpoint.facts["processes"] != world_size():
            raise ModelError(
                f"{self.folder} was trained by {checkpoint.facts['processes']} processes, not "
                f"{world_size()}: resume it with as many, since they share the batch."
            )
        load_weights(self.model, checkpoint.weights, str(self.folder))
        self.best = checkpoint.facts["best"]
        self.evaluated = checkpoint.facts["evaluated"]
        self.started_from = checkpoint.facts.get("started_from", "")
        self.licence = checkpoint.facts.get("licence", "")
        if self.started_from:
            announce(
                self.callback, f"This run was started from {self.started_from} (weights.json)."
            )
        if note:
            announce(self.callback, note)
            if rank() == 0:
                write_recipe(self.folder, self.recipe, skeleton)
        # A killed run may have logged steps after its checkpoint; they will be repeated.
        if rank() == 0:
            self.log.cut(checkpoint.facts["step"], self.evaluated)
        return {"step": checkpoint.facts["step"], **state}

    def _train_step(self) -> nn.Module:
        step = TrainStep(self.model)
        if world_size() == 1:
            return step
        device = self.options.device
        return DistributedDataParallel(step, [device] if device.type == "cuda" else None)

    def _step(
        self,
        step: int,
        train_step: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Iterator[MicroBatch],
    ) -> None:
        start = time.perf_counter()
        first = self.schedule.first_micro_batch(step)
        count = self.schedule.first_micro_batch(step + 1) - first
        lr = self.schedule.lr(step)
        own, *backbone = optimizer.param_groups
        own["lr"] = lr
        for group in backbone:
            group["lr"] = self.schedule.backbone_lr(step)
        self.model.train()
        if self.frozen:
            self.frozen.eval()
        optimizer.zero_grad()
        names: list[list[str]] = []  # of the images of each micro-batch
        losses: list[dict[str, Tensor]] = []
        images = 0
        for batch, last in self._loaded(batches, count):
            images += len(batch)
            names.append(batch.names)
            # Gradients are all-reduced once a step.
            with nullcontext() if last else _no_sync(train_step):
                losses.append(self._backward(batch, train_step, count))
        terms: dict[str, float] = {}
        for own_names, values in zip(names, _read(losses), strict=True):
            self._check_finite(values, own_names, step)
            for name, value in values.items():
                terms[name] = terms.get(name, 0.0) + value / count
        if images:
            if self.recipe.clip_norm:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
            optimizer.step()
            if self.averaged:
                self.averaged.update_parameters(self.model)
        terms, images = self._all_reduced(terms, images)
        report = StepReport(
            step=step + 1,
            steps=self.schedule.steps,
            epoch=step // self.schedule.steps_per_epoch + 1,
            lr=lr,
            loss=sum(terms.values()),
            terms=terms,
            images_per_second=images / (time.perf_counter() - start),
        )
        if rank() == 0:
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
        self.callback.on_step(report)

    def _loaded(self, batches: Iterator[MicroBatch], count: int) -> Iterator[tuple[Batch, bool]]:
        """Yield the loaded ones of the next `count` micro-batches, and whether each is the last."""
        step_batches = list(islice(batches, count))
        for micro_batch in step_batches:
            self._record_unreadable(micro_batch.unreadable)
        # A micro-batch that one rank cannot load is skipped by all: the others would wait for it.
        skipped = any_rank([m.batch is None for m in step_batches], self.options.device)
        loaded = [m.batch for m, skip in zip(step_batches, skipped, strict=True) if not skip]
        for number, batch in enumerate(loaded, start=1):
            assert batch is not None
            yield batch, number == len(loaded)

    def _all_reduced(self, terms: dict[str, float], images: int) -> tuple[dict[str, float], int]:
        """Return the mean terms and the total number of images over all ranks."""
        if world_size() == 1 or not terms:
            return terms, images
        values = torch.tensor([*terms.values(), images], dtype=torch.float64)
        *means, total = (all_reduce_(values.to(self.options.device)) / world_size()).tolist()
        return dict(zip(terms, means, strict=True)), round(total * world_size())

    def _backward(
        self, batch: Batch, train_step: nn.Module, micro_batches: int
    ) -> dict[str, Tensor]:
        """Add a micro-batch's gradients; return its terms, which a GPU may still be computing."""
        batch = batch.to(self.options.device)
        with autocast(self.options.device, self.options.precision):
            terms: dict[str, Tensor] = train_step(batch)
        total = torch.stack(list(terms.values())).sum()
        (total / micro_batches).backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in terms.items()}

    def _check_finite(self, terms: dict[str, float], images: list[str], step: int) -> None:
        if not math.isfinite(sum(terms.values())):
            values = ", ".join(f"{name} {value:g}" for name, value in terms.items())
            raise PosebenchError(
                f"The loss is not finite at step {step + 1} ({values}) on the images "
                f"{', '.join(images)}. Lower the learning rate (--set lr="
                f"{self.recipe.lr / 2:g}) and start again, or continue from the last checkpoint, "
                f"which was written before: {resume_command(self.folder)}"
            )

    def _record_unreadable(self, unreadable: list[Unreadable]) -> None:
        for image in unreadable:
            if self.options.strict:
                raise DataError(image.message)
            if image.index not in self.unreadable:
                self.unreadable[image.index] = image
                self.log.write({"unreadable": image.message})
                self.callback.on_unreadable(image)
        if len(self.unreadable) == len(self.sampler.indices):
            raise DataError(
                f"None of the {len(self.sampler.indices)} images of {self.dataset.name} "
                f"{self.dataset.split} can be read; the first: {unreadable[0].message}"
            )

    def _save(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        if rank() > 0:
            return
        facts = {
            "step": step,
            "seed": self.options.seed,
            "processes": world_size(),
            "best": self.best,
            "evaluated": self.evaluated,
            "dataset": self.dataset.reference,
            **self._origin(),
        }
        state = {"optimizer": optimizer.state_dict()}
        if self.averaged:
            state["averaged"] = self.averaged.state_dict()
        self.state.save(self.model, self.recipe, self.dataset.skeleton, facts, state)

    def _origin(self) -> dict[str, Any]:
        """Return what a checkpoint says of its training, where that is out of the ordinary."""
        limited = isinstance(self.dataset, FirstImages) and len(self.dataset)
        facts = {
            "limit": limited, "started_from": self.started_from, "licence": self.licence,
        }  # fmt: skip
        return {name: value for name, value in facts.items() if value}

    def _evaluation_due(self, step: int) -> bool:
        epoch, within = divmod(step, self.schedule.steps_per_epoch)
        at_end = epoch == self.recipe.epochs or epoch % self.recipe.evaluate_every == 0
        return within == 0 and at_end and step > self.evaluated

    def _evaluate(self, step: int, stop: threading.Event) -> Evaluation:
        def progress(done: int, total: int) -> None:
            # The state has been saved; a resumed run starts with this evaluation.
            if stop.is_set() and _may_leave_evaluation():
                raise self._interrupted(step)
            self.callback.on_eval_progress(done, total)

        model = cast(PoseModel, self.averaged.module) if self.averaged else self.model
        broadcast_(model.buffers())  # batch-norm statistics differ between the ranks
        evaluation = evaluate(
            model,
            self.eval_dataset,
            self.recipe.inference,
            workers=self.options.workers,
            precision=self.options.precision,
            compiler=self.options.compiler,
            strict=self.options.strict,
            progress=progress,
        )
        self.evaluated = step
        epoch = step // self.schedule.steps_per_epoch
        value = main_metric(evaluation.metrics)[1]
        best = value > self.best
        self.best = max(self.best, value)
        if rank() > 0:
            return evaluation
        if best:
            facts = {
                "step": step,
                "epoch": epoch,
                "seed": self.options.seed,
                "metrics": evaluation.metrics,
                "dataset": self.dataset.reference,
                **self._origin(),
            }
            path = self.folder / "checkpoints" / "best.safetensors"
            save_weights(path, model, self.recipe, self.dataset.skeleton, facts)
        self.log.write({"step": step, "epoch": epoch, "metrics": evaluation.metrics})
        self.callback.on_evaluation(epoch, evaluation, best)
        return evaluation


def _read(losses: list[dict[str, Tensor]]) -> list[dict[str, float]]:
    """Return the values of the terms of several micro-batches, in one copy from the device."""
    values = iter(
        torch.stack([value for terms in losses for value in terms.values()]).tolist()
        if losses
        else []
    )
    return [{name: next(values) for name in terms} for terms in losses]


class _Average(AveragedModel):
    """An exponential moving average with a shorter horizon in the first steps, of buffers too.

    The count of steps stays on the CPU; PyTorch's own sends it to a GPU and waits at each step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        steps = int(self.n_averaged)
        self.n_averaged += 1
        decay = min(self.decay, (1 + steps) / (10 + steps))
        floating: list[tuple[Tensor, Tensor]] = []
        for averaged, current in zip(_values(self.module), _values(model), strict=True):
            if steps and averaged.is_floating_point():
                floating.append((averaged, current))
            else:  # the first values, and batch norm's counters
                averaged.copy_(current)
        if floating:
            update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            update(*map(list, zip(*floating, strict=True)), None)


def _values(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())
