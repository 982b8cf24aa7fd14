"""Copies to and from a GPU: tensors of every kind travel packed into one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posebench.structures import Batch
from posebench.transfer import pinned, tensors_in, to_device, to_host
from tests.builders import make_batch
from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE

KINDS = {
    "a number": torch.tensor(3),
    "nothing": torch.zeros(0, 4, 2, dtype=torch.float64),
    "bits": torch.tensor([True, False, True]),
    "turned": torch.arange(12.0).reshape(3, 4).T,
    "half": torch.tensor(2.5, dtype=torch.float16),
    "every second": torch.arange(5, dtype=torch.int16)[::2],
    "repeated": torch.arange(3.0)[1:2].expand(4),
    "complex": torch.tensor([1 + 2j]),
    "channels last": torch.rand(1, 3, 2, 2).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("names", [list(KINDS), *([name] for name in KINDS)], ids=str)
def test_tensors_arrive_as_they_were(names: list[str], gpu: Ledger) -> None:
    tensors = [KINDS[name] for name in names]
    there = to_device(tensors, DEVICE)
    assert gpu.waits.total() == 0 and gpu.uploads.total() == 1
    back = to_host(there)
    assert gpu.waits.total() == gpu.downloads == 1
    for own, other in zip(tensors, back, strict=True):
        assert other.is_cpu and own.dtype == other.dtype and own.equal(other)
    assert all(tensor.is_cuda for tensor in there)


def test_tensors_of_both_devices_keep_their_order(gpu: Ledger) -> None:
    numbers = [torch.tensor(number) for number in range(4)]
    mixed = [number.to(DEVICE) if place % 2 else number for place, number in enumerate(numbers)]
    gpu.clear()
    for arrived in (to_device(mixed, DEVICE), to_host(mixed)):
        assert [tensor.item() for tensor in arrived] == [0, 1, 2, 3]
    assert to_device([], DEVICE) == to_host([]) == []


def test_a_pinned_batch_with_targets(gpu: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    batch: Batch = replace(make_batch((1, 0), size=64), targets={"maps": [torch.ones(2, 3)]})
    ready = batch.pin_memory()
    assert all(own.is_pinned() for own in tensors_in((ready.images, ready.masks, ready.targets)))
    with monkeypatch.context() as patched:
        patched.setattr(torch, "cat", None)  # the loader has packed
        there = ready.to(DEVICE)
    assert gpu.waits.total() == 0 and gpu.uploads.total() == 2
    assert there.images.cpu().equal(batch.images)
    assert there.targets["maps"][0].is_cuda and there.targets["maps"][0].cpu().equal(
        torch.ones(2, 3)
    )
    assert all(there.masks[stride].cpu().equal(mask) for stride, mask in batch.masks.items())
    assert all(poses.keypoints.is_cpu for poses in there.poses) and there.geometry.sizes.is_cpu


@pytest.mark.parametrize("names", [list(KINDS), ["every second", "bits"], ["half"]], ids=str)
def test_pinned_tensors_arrive_as_they_were(names: list[str], gpu: Ledger) -> None:
    ready = pinned([KINDS[name] for name in names])
    assert all(own.equal(KINDS[name]) for name, own in zip(names, ready, strict=True))
    there = to_device(ready, DEVICE)
    some = to_device(ready[1:], DEVICE)  # not the whole piece
    for name, own in zip([*names, *names[1:]], [*there, *some], strict=True):
        assert own.is_cuda and own.dtype == KINDS[name].dtype
        assert own.cpu().equal(KINDS[name])
    assert gpu.uploads.total() == 1 + bool(some)
