"""What only a GPU can show: the same numbers, learning, speed by precision, torch.compile.

    python -m benchmarks.gpu --part parity|train|speed|compile [--out gpu.jsonl] [--device cuda:0]

parity   largest difference between CPU and GPU of every method with the package's weights, relative
         to the largest value, and people that differ; then each test of `tests/parity`, with the
         cases in POSEBENCH_PARITY, and how near it came to its tolerance
train    cid_tiny and group_pose_tiny, trained to their AP
speed    every recipe whose network differs, at its paper's sizes, in fp32, tf32, bf16 and fp16
compile  a recipe of each method, with torch.compile and without

A process of its own measures. When `--budget` seconds are over, six minutes by default, it is
stopped, whatever it is doing. A line of JSON is written as soon as it is known; at
the end, one says what the interrupted step had reached, and others name what was left out.
`--device test` is the device of `tests/device`, for machines without a GPU. The exit code is 1 if a
step failed or was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

import posebench
from posebench.bench.speed.clock import Clock, CudaClock, clock_for
from posebench.bench.speed.inputs import write_images
from posebench.bench.speed.options import SpeedOptions, TimingJob, input_cases
from posebench.bench.speed.timed_model import TimedModel
from posebench.engine import Evaluation, inference_model, pick_device
from posebench.engine.callbacks import NullCallback, StepReport
from posebench.engine.evaluation import autocast
from posebench.errors import UsageError
from posebench.models import RECIPES, profile_of
from posebench.transfer import moved, tensors_in
from tests.device.cases import NAMES, batch, difference, samples, trained, views
from tests.device.gpu import DEVICE, pretended_gpu
from tests.device.measuring import Report, Row, measure

CPU = torch.device("cpu")
TESTS = Path(__file__).resolve().parents[1] / "tests" / "parity"


def on(device: str) -> AbstractContextManager[Any]:
    """Return a context in which a device is there; `test` is that of `tests/device`."""
    return pretended_gpu() if device == "test" else nullcontext()


def called(device: str) -> torch.device:
    return DEVICE if device == "test" else torch.device(device)


# ------------------------------------------------------------------------------------------ parity


def parity(
    report: Report,
    device: str,
    names: list[str] = NAMES,
    tests: tuple[str, ...] = (str(TESTS),),
    only: str = "",
) -> None:
    report.plan([*names, "tests/parity"])
    with on(device):
        report.steps({name: partial(same_as_on_cpu, name, called(device)) for name in names})
    os.environ["POSEBENCH_PARITY_DEVICE"] = device  # read where the tests are imported
    results = Results(report)
    with redirect_stdout(sys.stderr):
        options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "-k", only]
        pytest.main([*options, *tests], plugins=[results])
    report.end("tests/parity", results.counts)


def same_as_on_cpu(name: str, device: torch.device) -> Row:
    """Compare a method with the package's weights on a device and on the CPU."""
    outputs, losses, people = [], [], []
    for place in (CPU, device):
        network, own = inference_model(trained(name).to(place)), batch().to(place)
        given = profile_of(network.config).given_people(network, batch())
        with torch.inference_mode(), autocast(place, "fp32"):
            outputs.append(network(own.images, own.padding, given))
            people.append(network.predict(samples(), views(flip=False)))
            losses.append(trained(name).to(place).train().loss(own))
    differing = sum(
        len(one) != len(other) or (len(one) > 0 and apart(one.keypoints, other.keypoints) > 1e-3)
        for one, other in zip(*people, strict=True)
    )
    return {
        "outputs": apart(moved(outputs[1], CPU), outputs[0]),
        "losses": apart(moved(losses[1], CPU), losses[0]),
        "images_with_other_people": differing,
    }


def apart(ours: Any, theirs: Any) -> float:
    """Return the largest difference of two values' tensors, relative to the largest value."""
    pairs = list(zip(tensors_in(ours), tensors_in(theirs), strict=True))
    return max((difference(*pair) for pair in pairs), default=0.0)


class Results:
    """Reports a row for each test that pytest runs, and counts their outcomes."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.counts: Row = {}
        self.row: Row = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.report.plan(_short(item.nodeid) for item in session.items)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.row = {"outcome": "passed", "seconds": 0.0}
        self.report.begin(_short(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.row["seconds"] += report.duration
        if report.outcome != "passed":
            self.row["outcome"] = report.outcome
        if report.failed:
            self.row["error"] = report.longreprtext.splitlines()[-1]
        if report.when == "teardown":
            self.row |= dict(report.user_properties)
            outcome = self.row["outcome"] + ("" if self.row.get("on_device") else ", on the CPU")
            self.counts[outcome] = self.counts.get(outcome, 0) + 1
            self.report.end(_short(report.nodeid), self.row)


def _short(nodeid: str) -> str:
    return nodeid.rpartition("/")[2]


# ------------------------------------------------------------------------------------------- train


def train(
    report: Report,
    device: str,
    names: tuple[str, ...] = ("cid_tiny", "group_pose_tiny"),
    **how: Any,
) -> None:
    with on(device):
        report.steps({n: partial(learned, n, called(device), report, **how) for n in names})


def learned(name: str, device: torch.device, report: Report, **how: Any) -> Row:
    progress = Progress(name, report)
    with tempfile.TemporaryDirectory() as folder:
        run = posebench.train(
            name, "synthetic", pretrained=False, device=str(device), runs=folder,
            callback=progress, **how,
        )  # fmt: skip
    return {"metrics": run.metrics, "seconds": progress.seconds}


class Progress(NullCallback):
    """Reports how far a training has come."""

    def __init__(self, name: str, report: Report) -> None:
        self.name, self.report, self.start = name, report, time.perf_counter()
        self.row: Row = {}

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def on_step(self, report: StepReport) -> None:
        self.row |= {"step": report.step, "steps": report.steps, "loss": report.loss}
        self._tell()

    def on_evaluation(self, epoch: int, evaluation: Evaluation, best: bool) -> None:
        self.row |= {"epoch": epoch, "metrics": evaluation.metrics}
        self._tell()

    def _tell(self) -> None:
        self.report.reached(self.name, {**self.row, "seconds": self.seconds})


# ---------------------------------------------------------------------------------- speed, compile


def speed(report: Report, device: str, names: list[str] | None = None, **options: Any) -> None:
    measured: dict[str, Callable[[], Row]] = {}
    for name in names or differing_recipes():
        for precision in ("fp32", "tf32", "bf16", "fp16"):
            how = {"precision": precision, **options}
            measured[f"{name} {precision}"] = partial(timed, name, called(device), **how)
    with on(device):
        report.steps(measured)


def compiling(report: Report, device: str, names: list[str] | None = None, **options: Any) -> None:
    measured: dict[str, Callable[[], Row]] = {}
    for name in names or one_of_each_method():
        for words, compiled in (("as it is", False), ("compiled", True)):
            how = {"precision": "bf16", "compiled": compiled, **options}
            measured[f"{name} {words}"] = partial(timed, name, called(device), **how)
    with on(device):
        report.steps(measured)


def differing_recipes() -> list[str]:
    """Return a recipe of each network, without those for other keypoints or schedules."""
    networks: dict[tuple[str, str], str] = {}
    for name, recipe in reversed(RECIPES.items()):
        if not name.endswith("_tiny"):
            networks[recipe.method, repr(recipe.config)] = name
    return sorted(networks.values())


def one_of_each_method() -> list[str]:
    first: dict[str, str] = {}
    for name in differing_recipes():
        first.setdefault(RECIPES[name].method, name)
    return sorted(first.values())


def timed(name: str, device: torch.device, *, seconds: float = 2.0, **options: Any) -> Row:
    how = SpeedOptions("paper", device=str(device), **options)
    with tempfile.TemporaryDirectory() as folder:
        job = TimingJob(name, how, input_cases(RECIPES[name], how), write_images(Path(folder)))
        model = TimedModel(job, clock)
        row: Row = {"sizes": []}
        for number in range(len(job.cases)):
            start = time.perf_counter()
            facts = model.prepare(number)
            prepared_s = time.perf_counter() - start
            passes = [sum(stages.values()) for stages in model.measure_for(number, seconds)]
            row["sizes"].append(
                {
                    "size": facts.size,
                    "latency_ms": 1000 * median(passes),
                    "passes": len(passes),
                    "prepared_s": prepared_s,  # with what is compiled
                    "activation_mb": facts.activation_bytes / 1e6,
                    "weight_mb": facts.weight_bytes / 1e6,
                }
            )
    return row


def clock(device: torch.device) -> Clock:
    if device.type == "cuda":  # which may be that of the tests, with events of its own
        return CudaClock(torch.cuda.Event, torch.cuda.synchronize)
    return clock_for(device)


PARTS: dict[str, Callable[..., None]] = {
    "parity": parity, "train": train, "speed": speed, "compile": compiling,
}  # fmt: skip


def measured(report: Report, *, part: str, device: str, recipes: list[str] | None) -> None:
    PARTS[part](report, device, **({"names": recipes} if recipes else {}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--recipes", nargs="+", help="in place of the part's own")
    parser.add_argument("--budget", type=float, default=360.0, help="seconds")
    options = parser.parse_args()
    if unknown := sorted({*(options.recipes or [])} - {*RECIPES}):
        parser.error(f"{', '.join(unknown)}: no recipe has this name; posebench models lists them.")
    if options.device != "test":
        try:
            pick_device(options.device)
        except UsageError as error:
            parser.error(f"{error} `--device test` needs no GPU.")
    failed = False
    work = partial(measured, part=options.part, device=options.device, recipes=options.recipes)
    with options.out.open("a", encoding="utf-8") as file:
        for row in measure(work, options.budget):
            line = json.dumps({"part": options.part, **row})
            print(line, flush=True)
            file.write(line + "\n")
            file.flush()
            failed |= "error" in row or "stopped" in row
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
