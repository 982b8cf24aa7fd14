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
from tests.builders import make_batch
from tests.device.cases import (
    BOUNDS,
    CPU,
    NAMES,
    SIDE,
    batch,
    difference,
    folded,
    on_both,
    samples,
    steps,
    trained,
    views,
)
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE

HOW_FAR = 1e-2  # pixels, of people's keypoints


def assert_same_people(ours: list[PosePredictions], theirs: list[PosePredictions]) -> None:
    for own, other in zip(ours, theirs, strict=True):
        assert own.keypoints.is_cpu and own.scores.is_cpu and own.keypoint_scores.is_cpu
        assert len(own) == len(other)
        for kept in (own.keypoints, own.scores, own.keypoint_scores):
            # Predictions of many images are kept, so they must not hold a batch's maps in memory.
            assert kept.untyped_storage().nbytes() <= 16 * kept.nbytes + 4096
        torch.testing.assert_close(own.scores, other.scores, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(own.keypoints, other.keypoints, rtol=0, atol=HOW_FAR)


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
    inputs = batch()

    def computed(device: torch.device) -> tuple[Any, list[PosePredictions]]:
        network, own = folded(name, device), inputs.to(device)
        given = profile_of(network.config).given_people(network, inputs)
        with torch.inference_mode():
            outputs = network(own.images, own.padding, given)
            return outputs, network.decode(network(own.images, own.padding), own.geometry)

    ours, theirs = on_both(computed)
    assert_same_tensors(ours[0], theirs[0], BOUNDS[name].outputs)
    assert_same_people(ours[1], theirs[1])


@pytest.mark.parametrize("name", NAMES)
def test_targets_and_ideal_outputs_are_the_same(name: str, gpu: Ledger) -> None:
    inputs = batch()

    def computed(device: torch.device) -> tuple[Any, Any, list[PosePredictions]]:
        model, own = trained(name).to(device), inputs.to(device)
        ideal = profile_of(model.config).ideal_outputs(model, own)
        return model.targets(own), ideal, model.decode(ideal, own.geometry)

    ours, theirs = on_both(computed)
    assert any(tensor.is_cuda for tensor in tensors_in(ours[0]))
    assert all(tensor.is_cuda for tensor in tensors_in(ours[1]))
    assert_same_tensors(ours[0], theirs[0], 1e-6)
    assert_same_tensors(ours[1], theirs[1], 1e-6)
    assert sum(len(own) for own in theirs[2]) == 5
    assert_same_people(ours[2], theirs[2])


@pytest.mark.parametrize("name", NAMES)
def test_a_step_learns_the_same(name: str, gpu: Ledger) -> None:
    def computed(device: torch.device) -> tuple[dict[str, float], dict[str, Tensor]]:
        model = trained(name).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        terms = model.loss(batch().to(device))
        torch.stack(list(terms.values())).sum().backward()
        gradients = {
            n: p.grad.cpu().clone() for n, p in model.named_parameters() if p.grad is not None
        }
        gpu.clear()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        assert gpu.waits.total() == 0
        return {term: value.item() for term, value in terms.items()}, gradients

    (losses, gradients), (their_losses, their_gradients) = on_both(computed)
    tolerance = BOUNDS[name].gradients
    assert losses == pytest.approx(their_losses, rel=tolerance)
    assert gradients.keys() == their_gradients.keys()
    largest = max(float(own.abs().max()) for own in their_gradients.values())
    for parameter, own in their_gradients.items():
        apart = (gradients[parameter] - own).abs().max()
        assert apart <= tolerance * largest, parameter


@pytest.mark.parametrize("name", NAMES)
def test_mirrored_and_scaled_views_give_the_same_people(name: str, gpu: Ledger) -> None:
    inference = views(scales=(1.0, 0.5))
    people = on_both(lambda device: folded(name, device).predict(samples(), inference))
    assert_same_people(*people)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_maps_are_the_same(name: str, gpu: Ledger) -> None:
    def computed(device: torch.device) -> Any:
        network = folded(name, device)
        return profile_of(network.config).explain(network, samples()[0], views())

    (people, maps), (their_people, their_maps) = on_both(computed)
    assert_same_people([people], [their_people])
    ours, theirs = moved(maps, CPU), moved(their_maps, CPU)
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


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_people_has_the_same_losses(name: str, gpu: Ledger) -> None:
    def computed(device: torch.device) -> dict[str, float]:
        terms = trained(name).to(device).train().loss(make_batch((0, 0), size=64).to(device))
        return {term: value.item() for term, value in terms.items()}

    ours, theirs = on_both(computed)
    assert ours == pytest.approx(theirs, rel=BOUNDS[name].gradients)
