"""CPU time and results of two commits, in turns: inference, networks, decoding, training steps.

    nice -n -10 python benchmarks/between_commits.py OLD NEW [--recipes NAME ...] [--steps NAME ...]

Both are checked out beside each other, and each has processes of its own with one thread. They get
the same files of weights, the package's for tiny recipes and for others those that NEW draws at
random, and the same images: four photographs of COCO (`../shared/data`) and four drawn crowds, in
which the package's weights find people. The steps:

    predict        from the images to people
    predict, flip  likewise, with mirrored images
    forward        of the network that inference uses, on a batch of photographs and one of crowds
    decode         of its outputs
    train          targets, losses, gradients and an optimizer step, of the photographs

Large networks have forward and decode alone, of one photograph. Times are the processes' CPU time.
The ratio of NEW to OLD is the median over turns, then over several pairs of processes; its range is
that over the pairs, since two processes of one commit differ by up to 3 %. Results are people's
keypoints and scores, loss terms and gradients: "equal" in all bits, or the largest difference of
each, relative to its largest value.

A package that only an earlier commit needs (faster-coco-eval for those before version 0.2) can be
installed in a folder that PYTHONPATH names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).parents[1]
DATA = HERE.parent / "shared" / "data"
LARGE = (
    "cid_hrnet_w32_coco", "group_pose_resnet50_coco", "higher_hrnet_w32_coco", "posedet_dla34_coco",
)  # fmt: skip
STEPS = ("predict", "predict, flip", "forward", "decode", "train")
PHOTOGRAPHS = (217285, 311002, 397133, 435206)  # 640 x 427, with 13, 3, 2 and 1 people
TRAINING_SIDE = 192  # pixels
LEAST_SECONDS = 0.3  # of a turn

Results = dict[str, Tensor]


# In the process of one commit, by the names that all commits have.


def serve(weights: Path) -> None:
    """Answer requests, a line of JSON each, with the seconds of a call."""
    recipe, calls = "", dict[str, Callable[[], Results]]()
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {}
        if request["recipe"] == "":
            reply["recipes"] = list(import_module("posebench.models").RECIPES)
        elif request["recipe"] != recipe:
            recipe = request["recipe"]
            calls = steps_of(recipe, weights / f"{recipe}.pt")
        elif request["results"]:
            torch.save(calls[request["step"]](), request["results"])
        else:
            reply["seconds"] = cpu_seconds(calls[request["step"]], request["seconds"])
        print(json.dumps(reply), flush=True)


def cpu_seconds(call: Callable[[], object], least: float) -> float:
    """Return the CPU time of a call, the mean of as many as take so long at least."""
    count, begun = 0, time.process_time()
    while (spent := time.process_time() - begun) < least or not count:
        call()
        count += 1
    return spent / count


def steps_of(name: str, weights: Path) -> dict[str, Callable[[], Results]]:
    """Return what is timed of a recipe, with its results."""
    recipe = import_module("posebench.models").RECIPES[name]
    inference = getattr(recipe, "inference", None) or recipe.test_time
    torch.manual_seed(0)
    model = built(recipe).eval()
    if not weights.exists():
        torch.save(model.state_dict(), weights)
    model.load_state_dict(torch.load(weights))
    network = import_module("posebench.engine").inference_model(model)
    photos = photographs()
    samples = photos[:1] if name in LARGE else [*photos, *crowds(photos, weights.parent)]
    one_view = replace(inference, flip=False)
    batches = [batch for _, [batch] in inputs_module().scaled_batches(samples, one_view)]

    @torch.inference_mode()
    def outputs() -> list[Any]:
        return [network(batch.images, batch.padding) for batch in batches]

    def forward() -> Results:
        outputs()
        return {}  # commits have outputs of different types

    @torch.inference_mode()
    def decode() -> Results:
        pairs = zip(found, batches, strict=True)
        return of_people([p for one, batch in pairs for p in network.decode(one, batch.geometry)])

    found = outputs()
    calls = {"forward": forward, "decode": decode}
    if name in LARGE:
        return calls
    return calls | {
        "predict": lambda: of_people(network.predict(samples, one_view)),
        "predict, flip": lambda: of_people(network.predict(samples, replace(inference, flip=True))),
        "train": training_step(recipe, model, photos),
    }


def training_step(recipe: Any, model: Any, samples: list[Any]) -> Callable[[], Results]:
    inputs = inputs_module()
    strides = getattr(recipe.augment, "mask_strides", ())
    batch = inputs.collate(
        [
            inputs.warp_sample(
                sample,
                np.eye(2, 3) * (TRAINING_SIDE / max(sample.size)),
                (TRAINING_SIDE, TRAINING_SIDE),
                mask_strides=strides,
            )
            for sample in samples
        ]
    )
    model = model.train().to(memory_format=torch.channels_last)
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    # A rate of 0: all steps are of the same weights, however many there are.
    optimizer = torch.optim.AdamW(learned.values(), lr=0.0, fused=True)

    def step() -> Results:
        torch.manual_seed(0)  # of what losses sample
        optimizer.zero_grad()
        terms = model.loss(batch)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        gradients = [p.grad.flatten() for _, p in sorted(learned.items()) if p.grad is not None]
        losses = torch.stack([term.detach() for _, term in sorted(terms.items())])
        return {"losses": losses, "gradients": torch.cat(gradients)}

    return step


def built(recipe: Any) -> Any:
    """Return a recipe's network; configurations were arguments once."""
    structures = import_module("posebench.structures")
    coco = getattr(structures, "COCO", None) or import_module("posebench.skeleton").COCO
    old = not hasattr(recipe, "inference")
    return recipe.build(recipe.config, coco) if old else recipe.build(coco)


def inputs_module() -> Any:
    """Return the module that makes batches, which has been moved once."""
    try:
        return import_module("posebench.preprocess")
    except ModuleNotFoundError:
        return import_module("posebench.layers.inputs")


def photographs() -> list[Any]:
    dataset = import_module("posebench.data").open_dataset("coco", "val", root=DATA)
    samples = map(dataset.load, range(len(dataset)))
    return [sample for sample in samples if sample.image_id in PHOTOGRAPHS]


def crowds(like: list[Any], folder: Path) -> list[Any]:
    """Return four drawn crowds, those of the commit that is asked first."""
    path = folder / "crowds.npz"
    if not path.exists():
        dataset = import_module("posebench.data").open_dataset("synthetic", "val")
        np.savez(path, *[dataset.load(index).image for index in range(4)])
    with np.load(path) as images:
        return [
            replace(sample, image=images[name]) for sample, name in zip(like, images, strict=True)
        ]


def of_people(predictions: list[Any]) -> Results:
    """Return the people of several images."""
    names = ("keypoints", "keypoint_scores", "scores")
    return {name: torch.cat([getattr(one, name) for one in predictions]) for name in names}


# In the process that compares.


@contextmanager
def checkout(revision: str, folder: Path) -> Iterator[Path]:
    git = ["git", "-C", str(HERE), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


class Side:
    """The process of a commit."""

    def __init__(self, tree: Path, weights: Path) -> None:
        settings = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "NUMBA")}
        # Memory stays with the process: how often it is given back and has to be cleared anew is
        # chance, and differs by a fifth of the time between two processes of one commit.
        settings |= {f"MALLOC_{what}_THRESHOLD_": str(2**30) for what in ("TRIM", "MMAP")}
        paths = [str(tree), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(weights)],
            env=os.environ | settings | {"PYTHONPATH": os.pathsep.join(paths)},
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, recipe: str, step: str = "", *, results: str = "", seconds: float = 0) -> Any:
        assert self.process.stdin and self.process.stdout
        request = {"recipe": recipe, "step": step, "results": results, "seconds": seconds}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        reply = self.process.stdout.readline()
        if not reply:
            sys.exit(f"A commit's process stopped at {recipe} {step}; its error is above.")
        return json.loads(reply)

    def results(self, recipe: str, step: str, folder: Path) -> Results:
        path = folder / "results.pt"
        self.ask(recipe, step, results=str(path))
        results: Results = torch.load(path)
        return results

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """Return in words how far results are apart."""
    texts = []
    for name, own in ours.items():
        other = theirs[name]
        if own.shape != other.shape:
            return f"{len(own)} and {len(other)} {name}"
        if not own.equal(other):
            largest = float(other.abs().max())
            texts.append(f"{name} {float((own - other).abs().max()) / largest:.0e}")
    return ", ".join(texts) or ("equal" if any(len(one) for one in ours.values()) else "")


@dataclass(frozen=True)
class Timed:
    """A step of two processes."""

    before: float  # seconds
    after: float
    ratio: float
    difference: str  # of results


def compare(old: Side, new: Side, recipe: str, step: str, turns: int, folder: Path) -> Timed:
    """Return a step's times, in turns."""
    difference = differences(old.results(recipe, step, folder), new.results(recipe, step, folder))
    times: dict[Side, list[float]] = {old: [], new: []}
    for turn in range(turns):
        for side in (old, new) if turn % 2 else (new, old):
            times[side].append(side.ask(recipe, step, seconds=LEAST_SECONDS)["seconds"])
    ratio = median(after / before for before, after in zip(times[old], times[new], strict=True))
    return Timed(median(times[old]), median(times[new]), ratio, difference)


def print_row(recipe: str, step: str, pairs: list[Timed]) -> None:
    before, after = (1e3 * median(getattr(p, name) for p in pairs) for name in ("before", "after"))
    ratios = sorted(pair.ratio for pair in pairs)
    print(
        f"| {recipe:24} | {step:13} | {before:8.2f} | {after:8.2f} | {median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}) | {pairs[0].difference} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revisions", nargs="*", metavar="OLD NEW")
    parser.add_argument("--recipes", nargs="+", help="default: all tiny ones, and four large ones")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--turns", type=int, default=5, help="of each pair of processes")
    parser.add_argument("--pairs", type=int, default=3, help="of processes")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        torch.set_num_threads(1)
        serve(options.serve)
        return
    if len(options.revisions) != 2:
        parser.error(f"expected two revisions, but found {len(options.revisions)}")
    for revision in options.revisions:
        named = f"{revision}^{{commit}}"
        verify = ["git", "-C", str(HERE), "rev-parse", "--verify", "--quiet", named]
        if subprocess.run(verify, stdout=subprocess.DEVNULL, check=False).returncode:
            parser.error(f"there is no revision {revision!r} in this repository")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_weights(folder)
        old_tree, new_tree = (
            stack.enter_context(checkout(revision, folder / place))
            for revision, place in zip(options.revisions, ("old", "new"), strict=True)
        )
        with Side(old_tree, folder) as old, Side(new_tree, folder) as new:
            known = set(old.ask("")["recipes"]) & set(new.ask("")["recipes"])
        tiny = sorted(name for name in known if name.endswith("_tiny"))
        print("| recipe | step | before, ms | after, ms | ratio (range) | results |")
        for recipe in options.recipes or [*tiny, *LARGE]:
            large = recipe in LARGE
            steps = [s for s in options.steps if not large or s in ("forward", "decode")]
            pairs: dict[str, list[Timed]] = {step: [] for step in steps}
            for _ in range(options.pairs):
                with Side(old_tree, folder) as old, Side(new_tree, folder) as new:
                    new.ask(recipe)  # first, as it may write the weights
                    old.ask(recipe)
                    for step in steps:
                        timed = compare(old, new, recipe, step, options.turns, folder)
                        pairs[step].append(timed)
            for step in steps:
                print_row(recipe, step, pairs[step])


def write_weights(folder: Path) -> None:
    """Write the package's weights of tiny recipes as both commits read them."""
    from safetensors.torch import load_file

    for path in (HERE / "posebench" / "weights").glob("*.safetensors"):
        torch.save(load_file(path), folder / f"{path.stem}.pt")


if __name__ == "__main__":
    main()
