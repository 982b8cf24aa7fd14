"""Clocks with simulated time."""

from __future__ import annotations

from posebench.bench.speed.clock import CpuClock, CudaClock


def test_stages_last_from_mark_to_mark() -> None:
    times = iter([10.0, 11.0, 13.0, 13.5, 20.0, 21.0])
    clock = CpuClock(lambda: next(times))
    clock.start()
    for stage in ("preprocess", "network", "preprocess"):
        clock.mark(stage)
    assert clock.stop() == {"preprocess": 1.5, "network": 2.0}
    clock.start()
    clock.mark("network")
    assert clock.stop() == {"network": 1.0}  # the pass before is forgotten


class FakeGpu:
    """A stream that works behind Python: an event is reached when what was before it is done."""

    def __init__(self) -> None:
        self.work_ms = 0.0
        self.waits = 0

    def event(self, enable_timing: bool) -> FakeEvent:
        assert enable_timing
        return FakeEvent(self)

    def synchronize(self) -> None:
        self.waits += 1


class FakeEvent:
    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu

    def record(self) -> None:
        self.reached_ms = self.gpu.work_ms

    def synchronize(self) -> None:
        self.gpu.waits += 1

    def elapsed_time(self, end: FakeEvent) -> float:
        return end.reached_ms - self.reached_ms


def test_a_gpus_stages_are_told_by_its_own_events_and_waited_for_once() -> None:
    gpu = FakeGpu()
    clock = CudaClock(gpu.event, gpu.synchronize)
    clock.start()
    assert gpu.waits == 1
    for stage, work in (("transfer", 2.0), ("network/a", 30.0), ("network/b", 10.0)):
        gpu.work_ms += work
        clock.mark(stage)
    assert gpu.waits == 1  # nothing waited between the stages
    assert clock.stop() == {"transfer": 0.002, "network/a": 0.03, "network/b": 0.01}
    assert gpu.waits == 2
