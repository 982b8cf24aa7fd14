"""The GPU that is asked for is the current one, of which pinned memory, streams and events are."""

from __future__ import annotations

import pytest
import torch

from posebench.engine import pick_device
from posebench.errors import UsageError
from tests.device.ledger import Ledger


class Cards:
    """Stands in for a machine with several GPUs, as far as the current one matters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.count, self.current = count, 0
        monkeypatch.setattr(torch.cuda, "set_device", self.choose)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: self.current)

    def choose(self, device: torch.device) -> None:
        if device.index >= self.count:
            raise RuntimeError("CUDA error: invalid device ordinal")
        self.current = device.index


@pytest.mark.parametrize("name", ["cuda:1", "cuda", "auto"])
def test_the_chosen_gpu_becomes_the_current_one(
    name: str, gpu: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = Cards(monkeypatch, count=2)
    cards.current = 0 if name == "cuda:1" else 1  # that of a rank
    assert pick_device(name) == torch.device("cuda:1")
    assert cards.current == 1


def test_a_gpu_that_is_not_there_is_refused(gpu: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = Cards(monkeypatch, count=1)
    with pytest.raises(UsageError, match=r"'cuda:1' cannot be used .* has cuda:0\."):
        pick_device("cuda:1")
    assert pick_device("cpu").type == "cpu" and cards.current == 0


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_without_a_driver_cpu_is_offered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver(*_: object, **__: object) -> None:
        raise RuntimeError("Found no NVIDIA driver on your system.")

    monkeypatch.setattr(torch.cuda, "current_device", no_driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "empty", no_driver)
    with pytest.raises(UsageError, match="cannot be used on this machine: choose auto or cpu"):
        pick_device(name)
