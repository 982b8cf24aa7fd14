"""Training, evaluation and timing on a GPU: the same losses and people as on the CPU."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from posebench import transfer
from posebench.bench.flops import Audit, audit
from posebench.bench.speed import timed_model
from posebench.bench.speed.clock import CudaClock
from posebench.bench.speed.inputs import write_images
from posebench.bench.speed.options import InputCase, SpeedOptions, TimingJob
from posebench.bench.speed.timed_model import TimedModel
from posebench.engine import TrainOptions, evaluate, read_log, train
from posebench.engine.checkpoint import TrainingState
from posebench.engine.training import _Average, _read, _Trainer
from posebench.errors import UnsupportedError
from posebench.models import RECIPES
from posebench.recipe import Recipe, override
from posebench.skeleton import COCO
from posebench.transfer import tensors_in
from posebench.viz.plots_speed import STAGE_COLOURS
from tests.device.cases import BOUNDS, CPU, NAMES, crowds, on_both, trained, views
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE


def small(name: str, **changes: Any) -> Recipe:
    settings = {"epochs": 1, "batch_size": 4, "micro_batch_size": 2, "warmup_steps": 0, **changes}
    recipe = replace(RECIPES[name], pretrained=False, **settings)
    size = "augment.size=64" if hasattr(recipe.augment, "size") else "augment.short_sides=[64]"
    return override(override(recipe, size), "inference.resize.short_side=64")


@cache
def _counted(name: str, size: tuple[int, int], batch: int, people: int) -> Audit:
    return audit(small(name), size, batch=batch, people=people)


def counted(recipe: Recipe, size: tuple[int, int], *, batch: int, people: int) -> Audit:
    """Count operations, which are the same on every device, once for both protocols."""
    return _counted(recipe.name, size, batch, people)


def losses_of(recipe: Recipe, run: Path, device: torch.device, **options: Any) -> list[float]:
    resume = (run / "checkpoints").is_dir()
    train(
        recipe, crowds("train", 8, size=64), crowds("val", 2, size=64), run,
        TrainOptions(device, **options), resume=resume,
    )  # fmt: skip
    return [entry["loss"] for entry in read_log(run) if "loss" in entry]


def lines_of(function: Any) -> set[str]:
    source, first = inspect.getsourcelines(function)
    return {f"engine/training.py:{first + number}" for number in range(len(source))}


@pytest.mark.parametrize("name", NAMES)
def test_training_is_the_same_and_goes_on(name: str, tmp_path: Path, gpu: Ledger) -> None:
    recipe = small(name)

    def computed(device: torch.device) -> list[float]:
        run = tmp_path / device.type
        losses_of(recipe, run, device)
        gpu.clear()
        return losses_of(replace(recipe, epochs=2), run, device)  # resumed

    losses = on_both(computed)
    # Adam divides small gradients by themselves, so that rounding decides on their signs.
    assert losses[0] == pytest.approx(losses[1], rel=max(1e-3, 10 * BOUNDS[name].gradients))
    functions = (_Trainer._step, _Trainer._backward, _read, _Average)
    steps = {line for function in functions for line in lines_of(function)}
    reads = [kind for kind, place in gpu.waits.elements() if place in steps]
    assert reads == ["to the CPU"] * 2, reads  # the loss terms of each step, at once


def test_training_in_bfloat16_has_nearly_the_same_losses(tmp_path: Path, gpu: Ledger) -> None:
    recipe = small("pifpaf_tiny")
    exact, rounded = (
        losses_of(recipe, tmp_path / precision, DEVICE, precision=precision)
        for precision in ("fp32", "bf16")
    )
    assert rounded != exact and rounded == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_finds_the_same_people(name: str, gpu: Ledger) -> None:
    data = crowds("val", 3)
    results = on_both(
        lambda device: (
            evaluate(trained(name).to(device), data, views(flip=False), batch_size=2).results
        )
    )
    assert len(results[0]) == len(results[1]) > 0
    for ours, theirs in zip(*results, strict=True):
        assert ours["image_id"] == theirs["image_id"]
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-3, abs=1e-4)
        assert ours["keypoints"] == pytest.approx(theirs["keypoints"], abs=1e-2)


@pytest.mark.parametrize("name", ["cid_tiny", "pifpaf_tiny", "mask_rcnn_tiny"])
def test_a_pass_without_waits_becomes_a_graph(name: str, tmp_path: Path, gpu: Ledger) -> None:
    options = SpeedOptions("forward", (2,), device="cuda:0", cuda_graphs=True)
    job = TimingJob(name, options, (InputCase(2, (64, 64)),), write_images(tmp_path))
    model = TimedModel(job, lambda _: CudaClock(torch.cuda.Event, torch.cuda.synchronize))
    if BOUNDS[name].forward:
        with pytest.raises(UnsupportedError, match="cannot be recorded"):
            model.prepare(0)
        return
    model.prepare(0)
    [stages] = model.measure_for(0, 0.0)
    assert list(stages) == ["network/graph"]


def test_alternatives_are_timed(tmp_path: Path, gpu: Ledger) -> None:
    options = SpeedOptions("forward", (2,), device="cuda:0", alternatives=True)
    job = TimingJob("cid_tiny", options, (InputCase(2, (64, 64)),), write_images(tmp_path))
    model = TimedModel(job, lambda _: CudaClock(torch.cuda.Event, torch.cuda.synchronize))
    [stages] = model.measure_for(0, 0.0)
    assert len(stages) > 1 and stages.keys() == model.cases[0].alternatives.keys()


@pytest.mark.parametrize("protocol", ["forward", "end-to-end"])
@pytest.mark.parametrize("name", NAMES)
def test_every_stage_is_timed(
    name: str, protocol: Any, tmp_path: Path, gpu: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed_model, "audit", counted)
    monkeypatch.setattr(timed_model, "RECIPES", {name: small(name)})
    options = SpeedOptions(protocol, (2,), device="cuda:0", precision="fp16")
    job = TimingJob(name, options, (InputCase(2, None),), write_images(tmp_path))
    # The clock's defaults were bound before there was a device.
    model = TimedModel(job, lambda _: CudaClock(torch.cuda.Event, torch.cuda.synchronize))
    model.prepare(0)
    [stages] = model.measure_for(0, 0.0)
    assert any(stage.startswith("network/") for stage in stages)
    assert ("postprocess" in stages) == (protocol == "end-to-end")
    assert set(stages) <= set(STAGE_COLOURS)  # or a figure shows them behind the postprocess


@pytest.mark.parametrize("pack_bytes", [2**26, 2**17], ids=["one pack", "several"])
def test_saving_copies_packs(
    pack_bytes: int, tmp_path: Path, gpu: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PACK_BYTES", pack_bytes)
    for device in (CPU, DEVICE):
        torch.manual_seed(0)
        model = trained("pifpaf_tiny").to(device)
        model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        optimizer.step()
        gpu.clear()
        state = {"optimizer": optimizer.state_dict(), "averaged": model.state_dict()}
        folder = TrainingState(tmp_path / device.type)
        folder.save(model, RECIPES["pifpaf_tiny"], COCO, {"step": 1}, state)
    tensors = list(tensors_in(state))
    packs = sum(tensor.nbytes for tensor in tensors) / pack_bytes
    assert len(tensors) > 100 and gpu.waits.total() == gpu.downloads <= 2 + 3 * packs
    ours, theirs = (TrainingState(tmp_path / device.type) for device in (DEVICE, CPU))
    read = [own.read()[0].weights for own in (ours, theirs)]
    assert read[0].keys() == read[1].keys()
    assert all(weight.equal(read[1][name]) for name, weight in read[0].items())
    files = [own.folder / "state-1.pt" for own in (ours, theirs)]
    assert files[0].read_bytes() == files[1].read_bytes()
