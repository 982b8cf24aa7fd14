"""The test device itself: it refuses what a GPU refuses, and counts what a GPU waits for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.device.ledger import Ledger
from tests.device.tensors import DEVICE, Misplaced


def test_tensors_of_two_devices_do_not_meet(gpu: Ledger) -> None:
    there = torch.arange(3.0, device=DEVICE)
    assert there.is_cuda and (there + torch.tensor(1.0)).cpu().tolist() == [1, 2, 3]
    for mixed in (lambda: there + torch.ones(3), lambda: torch.cat([there, torch.ones(1)])):
        with pytest.raises(Misplaced, match="on the CPU, others on cuda:0"):
            mixed()
    with pytest.raises(Misplaced, match="numpy"):
        there.numpy()


def test_only_pinned_copies_do_not_wait(gpu: Ledger) -> None:
    torch.ones(3).to(DEVICE)
    torch.ones(3).to(DEVICE, non_blocking=True)
    assert gpu.waits.total() == 2 and not gpu.uploads
    torch.ones(3).pin_memory().to(DEVICE, non_blocking=True)
    assert gpu.waits.total() == 2 and gpu.uploads.total() == 1


def test_what_needs_values_waits(gpu: Ledger) -> None:
    there = torch.arange(4.0, device=DEVICE)
    gpu.clear()
    mask = there > 1
    there.masked_fill_(mask, 0.0)
    assert gpu.waits.total() == 0 and gpu.launches.total() == 2
    there[mask], mask.nonzero(), bool(mask.any()), there.cpu(), there[[0, 1]]
    assert gpu.waits.total() == 5 and gpu.downloads == 1


def test_a_network_learns_as_on_the_cpu(gpu: Ledger) -> None:
    losses = []
    for device in (torch.device("cpu"), DEVICE):
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 1))
        network = nn.Sequential(*layers).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), fused=True)
        images = torch.randn(2, 3, 8, 8).to(device)
        for _ in range(3):
            optimizer.zero_grad()
            loss = network(images).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    with torch.autocast("cuda", torch.bfloat16):
        assert network(images).dtype == torch.bfloat16
        assert torch.exp(network(images)).dtype == torch.float32  # of CUDA's list, not the CPU's
