"""Every method on a GPU: the same numbers as on the CPU, and no more waits than are stated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from posebench.models import RECIPES, profile_of
from posebench.structures import PosePredictions
from posebench.transfer import moved, tensors_in
from tests.device.cases import (
    BOUNDS,
    NAMES,
    SIDE,
    batch,
    difference,
    folded,
    samples,
    steps,
    trained,
)
from tests.device.cases import views as views_of
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE

CPU = torch.device("cpu")
HOW_FAR = 1e-2  # pixels, of people's keypoints


def assert_same_people(
    ours: list[PosePredictions], theirs: list[PosePredictions], relative: float = 0.0
) -> None:
    for own, other in zip(ours, theirs, strict=True):
        assert own.keypoints.is_cpu and own.scores.is_cpu and own.keypoint_scores.is_cpu
        assert len(own) == len(other)
        for kept in (own.keypoints, own.scores, own.keypoint_scores):
            # Predictions of many images are kept, so they must not hold a batch's maps in memory.
            assert kept.untyped_storage().nbytes() <= 16 * kept.nbytes + 4096
        torch.testing.assert_close(own.scores, other.scores, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(own.keypoints, other.keypoints, rtol=relative, atol=HOW_FAR)


def assert_same_tensors(ours: Any, theirs: Any, tolerance: float) -> None:
    pairs = list(zip(tensors_in(ours), tensors_in(theirs), strict=True))
    assert pairs
    assert max(difference(own, other) for own, other in pairs) <= tolerance


def test_every_tiny_recipe_is_tested() -> None:
    assert set(NAMES) == {name for name in RECIPES if name.endswith("_tiny")}


@pytest.mark.parametrize("name", NAMES)
def test_waits_are_few(name: str, gpu: Ledger) -> None:
    bounds = BOUNDS[name]
    most = {
        "batch": 0, "targets": bounds.targets, "loss": bounds.loss, "backward": 0,
        "forward": bounds.forward, "decode": bounds.decode,
    }  # fmt: skip
    for step, call in steps(name):
        gpu.clear()
        call()
        assert gpu.waits.total() <= most[step], (step, gpu.waits)
        if step == "batch":
            assert gpu.uploads.total() <= 2


@pytest.mark.parametrize("name", NAMES)
def test_forward_gives_the_same_outputs_and_people(name: str, gpu: Ledger) -> None:
    inputs, outputs, people = batch(), [], []
    for device in (CPU, DEVICE):
        network, own = folded(name, device), inputs.to(device)
        given = profile_of(network.config).given_people(network, inputs)
        with torch.inference_mode():
            outputs.append(network(own.images, own.padding, given))
            detected = network(own.images, own.padding)
            people.append(network.decode(detected, own.geometry))
    assert_same_tensors(outputs[1], outputs[0], BOUNDS[name].outputs)
    assert_same_people(people[1], people[0], BOUNDS[name].keypoints)


@pytest.mark.parametrize("name", NAMES)
def test_targets_and_ideal_outputs_are_the_same(name: str, gpu: Ledger) -> None:
    inputs, built, ideal, people = batch(), [], [], []
    for device in (CPU, DEVICE):
        model, own = trained(name).to(device), inputs.to(device)
        built.append(model.targets(own))
        ideal.append(profile_of(model.config).ideal_outputs(model, own))
        people.append(model.decode(ideal[-1], own.geometry))
    assert any(tensor.is_cuda for tensor in tensors_in(built[1]))
    assert all(tensor.is_cuda for tensor in tensors_in(ideal[1]))
    assert_same_tensors(built[1], built[0], 1e-6)
    assert_same_tensors(ideal[1], ideal[0], 1e-6)
    assert sum(len(own) for own in people[0]) == 5
    assert_same_people(people[1], people[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_step_learns_the_same(name: str, gpu: Ledger) -> None:
    losses: list[dict[str, float]] = []
    gradients: list[dict[str, Tensor]] = []
    for device in (CPU, DEVICE):
        model = trained(name).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        terms = model.loss(batch().to(device))
        torch.stack(list(terms.values())).sum().backward()
        gradients.append(
            {n: p.grad.cpu().clone() for n, p in model.named_parameters() if p.grad is not None}
        )
        gpu.clear()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        assert gpu.waits.total() == 0
        losses.append({term: value.item() for term, value in terms.items()})
    tolerance = BOUNDS[name].gradients
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)
    largest = max(float(own.abs().max()) for own in gradients[0].values())
    for parameter, own in gradients[0].items():
        apart = (gradients[1][parameter] - own).abs().max()
        assert apart <= tolerance * largest, parameter


@pytest.mark.parametrize("name", NAMES)
def test_mirrored_and_scaled_views_give_the_same_people(name: str, gpu: Ledger) -> None:
    inference = views_of(scales=(1.0, 0.5))
    people = [folded(name, device).predict(samples(), inference) for device in (CPU, DEVICE)]
    assert_same_people(people[1], people[0])


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_maps_are_the_same(name: str, gpu: Ledger) -> None:
    explained = []
    for device in (CPU, DEVICE):
        network = folded(name, device)
        profile = profile_of(network.config)
        explained.append(profile.explain(network, samples()[0], views_of()))
    assert_same_people([explained[1][0]], [explained[0][0]])
    ours, theirs = (moved(maps, CPU) for _, maps in explained[::-1])
    assert_same_tensors(ours.scene, theirs.scene, 1e-4)
    assert_same_tensors(replace(ours, scene={}), replace(theirs, scene={}), 1e-4)


def test_suppressions_of_too_few_turns_are_repeated(
    gpu: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, inputs = folded("mask_rcnn_tiny", DEVICE), batch().to(DEVICE)
    with torch.inference_mode():
        expected = network(inputs.images).boxes
        monkeypatch.setattr("posebench.models.mask_rcnn.model.TURNS", 2)
        gpu.clear()
        boxes = network(inputs.images).boxes
    assert gpu.waits.total() == 2
    assert all(own.equal(other) for own, other in zip(boxes, expected, strict=True))


def test_boxes_of_given_people_in_padded_images_are_read_without_a_wait(gpu: Ledger) -> None:
    inputs, boxes = batch(), []
    padding = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
    padding[1, 96:], padding[2, :, 64:] = True, True
    for device in (CPU, DEVICE):
        network, own = folded("mask_rcnn_tiny", device), inputs.to(device)
        given = profile_of(network.config).given_people(network, inputs)
        hidden = padding.pin_memory().to(device, non_blocking=True)
        gpu.clear()
        with torch.inference_mode():
            outputs = network(own.images, hidden, given)
        assert gpu.waits.total() == 0
        boxes.append(outputs.boxes)
    assert_same_tensors(boxes[1], boxes[0], 1e-6)
