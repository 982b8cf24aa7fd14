"""What only a GPU can show: the same numbers, learning, speed by precision, torch.compile.

    python -m benchmarks.gpu --part parity|train|speed|compile [--out gpu.jsonl] [--device cuda:0]

Each part measures in the order of its plan until `--budget` seconds are over, seven minutes by
default, and names what it left out. A line of JSON is written as soon as it is known.

parity   largest difference between CPU and GPU, of every method with the package's weights and of
         the cases in POSEBENCH_PARITY, relative to the largest value; people that differ
train    cid_tiny and group_pose_tiny, trained to their AP
speed    every recipe whose network differs, at its paper's sizes, in fp32, tf32, bf16 and fp16
compile  a recipe of each method, with torch.compile and without
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import posebench
from posebench.bench.speed.clock import clock_for
from posebench.bench.speed.inputs import write_images
from posebench.bench.speed.options import SpeedOptions, TimingJob, input_cases
from posebench.bench.speed.timed_model import TimedModel
from posebench.engine import inference_model
from posebench.engine.evaluation import autocast
from posebench.models import RECIPES, profile_of
from posebench.transfer import moved, tensors_in
from tests.device.cases import NAMES, batch, difference, samples, trained, views
from tests.parity import test_cid, test_higher_hrnet, test_posedet
from tests.parity.fixtures import cases

CPU = torch.device("cpu")
Row = dict[str, Any]
Plan = Iterator[tuple[str, Callable[[], Row]]]  # what is measured, and what measures it


def apart(ours: Any, theirs: Any) -> float:
    """Return the largest difference of two values' tensors."""
    pairs = list(zip(tensors_in(ours), tensors_in(theirs), strict=True))
    return max((difference(*pair) for pair in pairs), default=0.0)


# ------------------------------------------------------------------------------------------ parity


def parity_plan(device: torch.device, names: list[str] = NAMES) -> Plan:
    for name in names:
        yield name, lambda name=name: same_as_on_cpu(name, device)  # type: ignore[misc]
    for method, module in (
        ("cid", test_cid), ("higherhrnet", test_higher_hrnet), ("posedet", test_posedet),
    ):  # fmt: skip
        for path in cases(method, "forward_*.npz"):
            yield (
                f"{method}/{path.stem}",
                lambda path=path, module=module: case_on(module, path, device),  # type: ignore[misc]
            )


def same_as_on_cpu(name: str, device: torch.device) -> Row:
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


def case_on(module: Any, path: Path, device: torch.device) -> Row:
    case = np.load(path)
    model = module.load_model(path, case).eval()
    images = torch.from_numpy(np.asarray(case["images" if "images" in case else "image"]))
    with torch.inference_mode(), autocast(device, "fp32"):
        expected = model.features(images)
        found = model.to(device).features(images.to(device))
    return {"features": apart(moved(found, CPU), expected)}


# ------------------------------------------------------------------------------------------- train


def train_plan(
    device: torch.device, names: tuple[str, ...] = ("cid_tiny", "group_pose_tiny"), **how: Any
) -> Plan:
    for name in names:
        yield name, lambda name=name: learned(name, device, **how)  # type: ignore[misc]


def learned(name: str, device: torch.device, **how: Any) -> Row:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = posebench.train(
            name, "synthetic", pretrained=False, device=str(device), runs=folder, **how
        )
    return {"metrics": run.metrics, "seconds": time.perf_counter() - start}


# ---------------------------------------------------------------------------------- speed, compile


def speed_plan(device: torch.device, names: list[str] | None = None, **options: Any) -> Plan:
    for name in names or differing_recipes():
        for precision in ("fp32", "tf32", "bf16", "fp16"):
            yield (
                f"{name} {precision}",
                lambda name=name, precision=precision: timed(  # type: ignore[misc]
                    name, device, precision=precision, **options
                ),
            )


def compile_plan(device: torch.device, names: list[str] | None = None, **options: Any) -> Plan:
    for name in names or one_of_each_method():
        for compiled in (False, True):
            yield (
                f"{name} {'compiled' if compiled else 'as it is'}",
                lambda name=name, compiled=compiled: timed(  # type: ignore[misc]
                    name, device, precision="bf16", compiled=compiled, **options
                ),
            )


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
        model = TimedModel(job, lambda place: clock_for(place))
        row: Row = {"sizes": []}
        for number in range(len(job.cases)):
            facts = model.prepare(number)
            passes = [sum(stages.values()) for stages in model.measure_for(number, seconds)]
            row["sizes"].append(
                {
                    "size": facts.size,
                    "latency_ms": 1000 * median(passes),
                    "passes": len(passes),
                    "activation_mb": facts.activation_bytes / 1e6,
                    "weight_mb": facts.weight_bytes / 1e6,
                }
            )
    return row


PLANS: dict[str, Callable[..., Plan]] = {
    "parity": parity_plan, "train": train_plan, "speed": speed_plan, "compile": compile_plan,
}  # fmt: skip


def measure(part: str, plan: Plan, out: Path, budget_s: float) -> None:
    """Measure a plan, and append a row for each of its steps to a file."""
    end = time.monotonic() + budget_s
    with out.open("a", encoding="utf-8") as file:
        for name, step in plan:
            row: Row = {"part": part, "name": name}
            if time.monotonic() > end:
                row["left_out"] = True
            else:
                try:
                    row |= step()
                except Exception as error:  # the others are still worth knowing
                    row["error"] = f"{type(error).__name__}: {error}"
            line = json.dumps(row)
            print(line, flush=True)
            file.write(line + "\n")
            file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PLANS, required=True)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds")
    options = parser.parse_args()
    plan = PLANS[options.part](torch.device(options.device))
    measure(options.part, plan, options.out, options.budget)


if __name__ == "__main__":
    main()
