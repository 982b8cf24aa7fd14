"""Train the tiny recipes with the posebench on PYTHONPATH and pack the runs; see README.md."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from unpack import AS_WRITTEN, WEIGHTS, moved, tensors_of, unpack

HERE = Path(__file__).parent
DATA = HERE / "data"
COMMIT = "7b01f22"
RECIPES = (
    "cid_tiny",
    "dgcn_tiny",
    "group_pose_tiny",
    "higher_hrnet_tiny",
    "mask_rcnn_tiny",
    "pifpaf_tiny",
    "posedet_tiny",
)
SETTINGS = {name: ["epochs=2", "evaluate_every=1"] for name in RECIPES}
# One run overrides fields that were renamed later: if reading dropped one of them, its default
# would take its place, and the recorded numbers would no longer match.
SETTINGS["higher_hrnet_tiny"] += [
    "ema_decay=0.9", "images_per_pass=2", "augment.size=160", "test_time.flip=false",
]  # fmt: skip
BEST = 5  # people of an image whose keypoints are recorded

# After a few steps a network detects nobody, or people everywhere with one score. These factors
# multiply the standard deviation of the output layers of best.safetensors, so that its evaluation
# has distinct people to compare. HigherHRNet's factor is small on purpose: with widely spread tags
# some distances fall on the threshold of its grouping, and rounding decides.
LIVELIER = {
    "cid_tiny": {r"keypoint_head\.weight": 4.0, r"decoupling\.heatmap\.weight": 4.0},
    "dgcn_tiny": {r"(keypoint|limb)_head\.conv\.weight": 2.0},
    "group_pose_tiny": {
        r"pose_heads\.\d\.layers\.2\.weight": 5000.0,
        r"proposal_pose\.layers\.3\.weight": 5000.0,
    },
    "higher_hrnet_tiny": {r"heatmap_heads\.\d\.weight": 4.0},
    "mask_rcnn_tiny": {r".*\.(cls_score|kps_score_lowres)\.weight": 30.0},
    "pifpaf_tiny": {r"(keypoint|limb)_head\.conv\.weight": 2.0},
    "posedet_tiny": {r"score\.weight": 30.0},
}
# PifPaf's biases are stored exactly, apart from two additions. Per field: the number of channels,
# of which the first is the confidence logit, and the number of scales at their end; each channel
# has four biases, one for each pixel of the 2 x 2 upsampling.
FIELDS = {"keypoint_head.conv.bias": (4, 1), "limb_head.conv.bias": (7, 2)}
CONFIDENCE, SCALE = 6.0, 5.0  # added to the confidence logits and to the scales


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    for recipe in parser.parse_args().recipes:
        if (HERE / recipe).exists():
            raise SystemExit(
                f"{HERE / recipe} exists: the tests rely on it. Delete it first to pack it again."
            )
        with tempfile.TemporaryDirectory() as place:
            shutil.move(pack(recipe, Path(place)), HERE)


def pack(recipe: str, place: Path) -> Path:
    """Train and interrupt a run, pack it, unpack it again, and record what it evaluates to."""
    shutil.copytree(DATA, place / "data")
    interrupted = start_and_interrupt(recipe, place)
    packed = place / recipe
    packed.mkdir()
    describe(recipe, interrupted, packed)
    run = place / "runs" / "again"
    unpack(packed, run)
    assert_alike(interrupted, run)
    expected = {"evaluated": evaluated(run, place), "resumed": resumed(recipe, run, place)}
    write_lines(packed / "expected.json", expected)
    finished = packed / "finished"
    finished.mkdir()
    shutil.copyfile(run / "log.jsonl", finished / "log.jsonl")
    shutil.copyfile(run / "metrics.json", finished / "metrics.json")
    scrub_results(run / "results.csv", finished / "results.csv")
    return packed


# ---------------------------------------------------------------------------------------- commands


def posebench(place: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "posebench", *words]
    one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    own = {"POSEBENCH_CACHE": str(place / "cache")}
    return subprocess.Popen(
        command, cwd=place, env={**os.environ, **one_thread, **own}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def training(recipe: str) -> list[str]:
    settings = [word for setting in SETTINGS[recipe] for word in ("--set", setting)]
    return [
        "train", recipe, "--dataset", "coco", "--data-root", "data", *settings,
        "--device", "cpu", "--workers", "0", "--runs", "runs",
    ]  # fmt: skip


def start_and_interrupt(recipe: str, place: Path) -> Path:
    """Start a training, interrupt it right after its first evaluation, and return its folder."""
    process = posebench(place, *training(recipe))
    while not list(place.glob("runs/train/*/checkpoints/best.safetensors")):
        if process.poll() is not None:
            raise SystemExit(process.communicate()[0])
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    if "Continue with" not in said:
        raise SystemExit(said)
    [run] = place.glob("runs/train/*")
    return run


def finish(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(said)


def resumed(recipe: str, run: Path, place: Path) -> dict[str, Any]:
    """Resume a run; return its files, its checkpoints' facts and how far its weights moved."""
    start = tensors_of(run)
    finish(posebench(place, *training(recipe), "--resume", str(run)))
    files = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    facts = {}
    for name in WEIGHTS:
        with safe_open(run / "checkpoints" / f"{name}.safetensors", framework="pt") as file:
            facts[name] = json.loads(file.metadata()["facts"])
    end = tensors_of(run)
    distances = {kind: moved(start[kind], end[kind]) for kind in start}
    return {"files": files, "facts": facts, "moved": distances}


def evaluated(run: Path, place: Path) -> dict[str, Any]:
    """Return the metrics of a run, the number of people and the best people of each image."""
    words = ["eval", str(run), "--data-root", "data", "--device", "cpu", "--runs", "evals"]
    finish(posebench(place, *words))
    [found] = place.glob("evals/eval/*")
    metrics = json.loads((found / "metrics.json").read_text())
    images: dict[int, list[dict[str, Any]]] = {}
    for person in json.loads((found / "predictions.json").read_text()):
        images.setdefault(person["image_id"], []).append(person)
    people = {image: len(found) for image, found in images.items()}
    best = [
        {
            "image_id": person["image_id"],
            "score": float(f"{person['score']:.6g}"),
            "keypoints": [float(f"{number:.6g}") for number in person["keypoints"]],
        }
        for found in images.values()
        for person in sorted(found, key=lambda person: -person["score"])[:BEST]
    ]
    return {"metrics": metrics, "people": people, "best": best}


# ------------------------------------------------------------------------------------- description


def describe(recipe: str, run: Path, packed: Path) -> None:
    for name in AS_WRITTEN:
        shutil.copyfile(run / name, packed / name)
    scrub_environment(packed / "environment.json")
    for name in WEIGHTS:
        with safe_open(run / "checkpoints" / f"{name}.safetensors", framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        rows = {key: row(key, tensor) for key, tensor in tensors.items()}
        if name == "best":  # evaluated only; training resumes from `last`
            rows = {key: livelier(key, tensors[key], row, recipe) for key, row in rows.items()}
        write_lines(packed / f"{name}.json", {"metadata": metadata, "tensors": rows})
    [state] = run.glob("checkpoints/state-*.pt")
    content = described("", torch.load(state, weights_only=True))
    write_lines(packed / "state.json", {"file": state.name, "content": content})


def row(name: str, tensor: Tensor) -> dict[str, Any]:
    """Return the row from which `unpack.tensor` rebuilds a tensor."""
    found: dict[str, Any] = {
        "tensor": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
    }
    # Not `is_contiguous`: a 1 x 1 kernel is contiguous in both layouts, but its strides differ.
    if tensor.stride() != torch.empty(tensor.shape).stride():
        found["channels_last"] = True
    # DGCN's adjacency is a matrix measured on the data, for which noise is no substitute.
    if name == "adjacency" or not tensor.is_floating_point() or tensor.numel() <= 4:
        return {**found, "values": short(tensor.flatten().tolist())}
    if name.endswith(("running_var", "exp_avg_sq")):
        return {**found, "positive_mean": short(tensor.mean().item())}
    deviation = tensor.std(correction=0).item()
    return {**found, "mean": short(tensor.mean().item()), "std": short(deviation)}


def livelier(name: str, tensor: Tensor, row: dict[str, Any], recipe: str) -> dict[str, Any]:
    """Return a weight's row, scaled by LIVELIER or FIELDS if it belongs to an output layer."""
    if name in FIELDS:
        numbers, scales = FIELDS[name]
        fields = tensor.clone().view(-1, numbers, 4)
        fields[:, 0] += CONFIDENCE
        fields[:, -scales:] += SCALE
        kept = {key: row[key] for key in ("tensor", "shape")}
        return {**kept, "values": short(fields.flatten().tolist())}
    for pattern, factor in LIVELIER[recipe].items():
        if re.fullmatch(pattern, name):
            return {**row, "std": short(row["std"] * factor)}
    return row


def short(number: Any) -> Any:
    if isinstance(number, list):
        return [short(one) for one in number]
    return float(f"{number:.4g}") if isinstance(number, float) else number


def described(path: str, content: Any) -> Any:
    """Return a value from `torch.load` as JSON; `unpack.value` is the inverse."""
    if isinstance(content, Tensor):
        return row(path, content)
    if isinstance(content, tuple):
        return {"tuple": described(path, list(content))}
    if isinstance(content, list):
        return [described(f"{path}.{number}", item) for number, item in enumerate(content)]
    if not isinstance(content, dict):
        assert content is None or isinstance(content, bool | int | float | str)
        return content
    pairs = [
        [key, described(f"{path}.{key}".removeprefix("."), item)] for key, item in content.items()
    ]
    if not isinstance(content, OrderedDict):
        return {"dict": pairs}
    return {"metadata": list(content._metadata.items()), "ordered": pairs}  # type: ignore[attr-defined]


def scrub_environment(path: Path) -> None:
    """Replace what `environment.json` says about the machine: its CPU and the program's path."""
    environment = json.loads(path.read_text())
    assert environment["commit"] == COMMIT, f"{environment['commit']} is on the path, not {COMMIT}"
    environment["command"][0] = "posebench"
    environment["cpu"] = "CPU"
    path.write_text(json.dumps(environment))


def scrub_results(source: Path, path: Path) -> None:
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {**row, "hardware": re.sub("^.*,", "CPU,", row["hardware"])} for row in rows
        )


def assert_alike(one: Path, other: Path) -> None:
    """Check that an unpacked run differs from the original one only in the values of tensors."""
    for name in WEIGHTS:
        heads = []
        for run in (one, other):
            content = (run / "checkpoints" / f"{name}.safetensors").read_bytes()
            heads.append(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]))
        assert heads[0] == heads[1], name
    states = []
    for run in (one, other):
        [path] = run.glob("checkpoints/state-*.pt")
        states.append((path.name, skeleton(torch.load(path, weights_only=True))))
    assert states[0] == states[1]


def skeleton(content: Any) -> Any:
    """Return a value in which each tensor is replaced by its type, shape and strides."""
    if isinstance(content, Tensor):
        return content.dtype, content.shape, content.stride()
    if isinstance(content, dict):
        items = [(key, skeleton(item)) for key, item in content.items()]
        return type(content), items, getattr(content, "_metadata", None)
    if isinstance(content, list | tuple):
        return type(content), [skeleton(item) for item in content]
    return content


# ------------------------------------------------------------------------------------------- files


def write_lines(path: Path, content: Any) -> None:
    """Write JSON with one line per tensor or person."""
    path.write_text(lines(content) + "\n")


def lines(content: Any) -> str:
    flat = json.dumps(content)
    if len(flat) < 100 or not isinstance(content, dict | list) or "tensor" in content:
        return flat
    if isinstance(content, dict):
        return (
            "{\n" + ",\n".join(f"{json.dumps(k)}: {lines(v)}" for k, v in content.items()) + "\n}"
        )
    if all(not isinstance(item, dict | list) for item in content):
        return flat
    return "[\n" + ",\n".join(lines(item) for item in content) + "\n]"


if __name__ == "__main__":
    main()
