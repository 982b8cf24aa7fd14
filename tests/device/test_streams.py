"""Streams: the test device refuses what would be read too early, and decoding has its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from posebench.engine.overlap import predict_batches
from posebench.structures import Inference, Resize
from tests.device.cases import samples, trained, views
from tests.device.ledger import Ledger
from tests.device.streams import Race
from tests.device.tensors import DEVICE


def test_what_another_stream_writes_is_waited_for(gpu: Ledger) -> None:
    beside = torch.cuda.Stream()
    ones = torch.ones(3, device=DEVICE)
    with torch.cuda.stream(beside):
        with pytest.raises(Race, match="stream 1 does not wait for operator 1 of stream 0"):
            ones + 1
        beside.wait_stream(torch.cuda.current_stream())  # itself
        with pytest.raises(Race):
            ones[1:] + 1
        beside.wait_event(torch.cuda.default_stream().record_event())
        twos = ones + 1
    ones + 1
    with pytest.raises(Race, match=r"stream 0 does not wait for operator \d of stream 1"):
        twos + 1
    with pytest.raises(Race):
        ones.zero_()  # the other stream may still be reading
    assert gpu.waits.total() == 0
    beside.synchronize()
    ones.zero_()
    assert (twos + 1).tolist() == [3, 3, 3]


def test_memory_that_is_used_again_is_new(gpu: Ledger) -> None:
    beside = torch.cuda.Stream()
    with torch.cuda.stream(beside):
        for _ in range(10):
            torch.ones(1000, device=DEVICE)
    for _ in range(10):
        torch.empty(1000, device=DEVICE).zero_()


def test_decoding_waits_for_its_own_batch_alone(
    gpu: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batches = trained("cid_tiny").to(DEVICE), [samples()[:1], samples()[1:]]
    people = [
        len(own) for one in predict_batches(model, batches, views(), torch.no_grad) for own in one
    ]
    assert sum(people) > 0
    monkeypatch.setattr("tests.device.streams.Stream.wait_event", lambda *_: None)
    with pytest.raises(Race):
        list(predict_batches(model, batches, views(), torch.no_grad))


def test_the_caller_works_outside_of_the_context(gpu: Ledger) -> None:
    main = threading.get_ident()
    inside: set[int] = set()  # threads

    @contextmanager
    def context() -> Iterator[None]:
        inside.add(threading.get_ident())
        yield
        inside.remove(threading.get_ident())

    def undecoded(samples: list[int], _: object) -> list[int]:
        assert main in inside
        return samples

    def decoded(views: list[int]) -> list[int]:
        assert threading.get_ident() in inside
        return views

    model: Any = SimpleNamespace(device=DEVICE, undecoded=undecoded, decoded=decoded)
    batches: Any = [[1, 2], [3], [4]]
    results = []
    for people in predict_batches(model, batches, Inference(Resize(64)), context):
        assert main not in inside  # or the caller's own networks would compute in it too
        results.append(people)
    assert results == batches
