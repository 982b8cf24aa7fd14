"""CPU time and memory that annotations of COCO's full size take, of several checkouts in turns.

    python benchmarks/full_size.py [--rounds 3] [--only NAME ...] [CHECKOUT ...]

It writes files of the size of train2017 (by full_size_coco.py) and of val2017 with 20 detections
per image, and prints for each checkout (default: this one) the least CPU seconds and the highest
peak of memory beyond those of `import torch`; and how much memory of its own (unique set size) each
of two loader workers gains while it loads the annotations of all labelled images.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from full_size_coco import write

HERE = Path(__file__).parents[1]
OPEN = """
from pathlib import Path
from posebench.data import open_dataset
dataset = open_dataset("coco", "train", root=Path({root!r}))
"""
PLAN = OPEN + "print(len(dataset.labelled()), dataset.fingerprint())"
WORKERS = (
    OPEN
    + """
import torch.utils.data
def own(pid):
    lines = Path(f"/proc/{{pid}}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
class Loaded(torch.utils.data.Dataset):
    def __init__(self):
        self.indices = dataset.labelled()
    def __len__(self):
        return len(self.indices)
    def __getitem__(self, index):
        return len(dataset.load(self.indices[index], pixels=False).poses)
loader = torch.utils.data.DataLoader(
    Loaded(), batch_size=64, num_workers=2, shuffle=True, persistent_workers=True
)
iterator = iter(loader)
next(iterator)
pids = [worker.pid for worker in loader._iterator._workers]
before = [own(pid) for pid in pids]
for _ in iterator:
    pass
print("MB", max(after - start for after, start in zip(map(own, pids), before)))
"""
)
TASKS = {
    "import torch": ["-c", "import torch"],
    "open, first": ["-c", OPEN],
    "open, again": ["-c", OPEN],
    "plan": ["-c", PLAN],
    "data doctor": ["-m", "posebench", "data", "doctor", "{root}/coco"],
    "eval --predictions": [
        "-m", "posebench", "eval", "--predictions", "{root}/results.json", "--dataset", "coco",
        "--data-root", "{root}", "--runs", "{root}/runs",
    ],
    "workers": ["-c", WORKERS],
}  # fmt: skip


def detections(truth: dict[str, Any], each: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return results: people found with growing errors and falling scores, and random poses."""
    people: dict[int, list[dict[str, Any]]] = {}
    for annotation in truth["annotations"]:
        if annotation["num_keypoints"]:
            people.setdefault(annotation["image_id"], []).append(annotation)
    results = []
    for image in truth["images"]:
        here = people.get(image["id"], [])
        for number in range(each):
            points, score = rng.random((17, 3)), 0.5 * rng.random()
            if number < 3 * len(here):
                person = here[number % len(here)]
                x, y, width, height = person["bbox"]
                annotated = np.array(person["keypoints"], np.float64).reshape(17, 3)
                known = annotated[:, 2] > 0
                points[:, :2] = points[:, :2] * (width, height) + (x, y)
                points[known, :2] = annotated[known, :2]
                round_ = number // len(here)
                spread = 0.07 * person["area"] ** 0.5 * (round_ + rng.random())
                points[:, :2] += rng.normal(size=(17, 2)) * spread
                score = rng.random() / (1 + round_)
            else:
                points[:, :2] *= (image["width"], image["height"])
            results.append(
                {
                    "image_id": image["id"], "category_id": 1, "score": round(score, 4),
                    "keypoints": np.round(points, 3).ravel().tolist(),
                }
            )  # fmt: skip
    return results


def link_images(images: list[dict[str, Any]], folder: Path) -> None:
    """Fill a folder with links to one image of each size."""
    for image in images:
        width, height = image["width"], image["height"]
        stored = folder.with_name(f"{width}x{height}.jpg")
        if not stored.exists():
            cv2.imwrite(str(stored), np.full((height, width, 3), 128, np.uint8))
        (folder / image["file_name"]).symlink_to(stored)


def prepare(root: Path, share: float) -> None:
    """Write the files, of a share of COCO's size."""
    folder = root / "coco" / "annotations"
    folder.mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / "coco" / split).mkdir()
    train, val = (folder / f"person_keypoints_{split}2017.json" for split in ("train", "val"))
    write(train, round(118_287 * share), round(262_465 * share))
    write(val, round(5_000 * share), round(11_004 * share))
    for path in (train, val):
        link_images(
            json.loads(path.read_text())["images"], root / "coco" / path.stem.split("_")[-1]
        )
    results = detections(json.loads(val.read_text()), 20, np.random.default_rng(1))
    (root / "results.json").write_text(json.dumps(results))


def measure(checkout: Path, task: str, root: Path) -> tuple[float, float, str]:
    """Return CPU seconds and peak MB of a process, with its children, and what it printed."""
    cache = root / "cache" / checkout.name
    if task == "open, first":
        shutil.rmtree(cache, ignore_errors=True)
    environment = os.environ | {"PYTHONPATH": str(checkout), "POSEBENCH_CACHE": str(cache)}
    command = [sys.executable, *(word.format(root=str(root)) for word in TASKS[task])]
    process = subprocess.Popen(
        command, env=environment, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    printed = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(printed)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[HERE])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of COCO's size")
    parser.add_argument("--only", nargs="+", choices=list(TASKS), default=list(TASKS))
    options = parser.parse_args()
    tasks = [task for task in TASKS if task in options.only or task == "import torch"]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        # In another process: the peak of a process counts what its parent held when it began.
        preparing = multiprocessing.get_context("spawn").Process(
            target=prepare, args=(root, options.share)
        )
        preparing.start()
        preparing.join()
        found: dict[tuple[Path, str], tuple[float, float]] = {}
        for _ in range(options.rounds):
            for checkout in options.checkouts:
                for task in tasks:
                    seconds, memory, printed = measure(checkout.resolve(), task, root)
                    if task == "workers":
                        memory = float(printed.split("MB")[-1])
                    least, most = found.get((checkout, task), (seconds, memory))
                    found[checkout, task] = min(least, seconds), max(most, memory)
    for checkout in options.checkouts:
        print(checkout)
        torch_seconds, torch_memory = found[checkout, "import torch"]
        for task in tasks:
            seconds, memory = found[checkout, task]
            if task not in ("import torch", "workers"):
                seconds, memory = seconds - torch_seconds, memory - torch_memory
            print(f"  {task:20} {seconds:7.2f} s {memory:7.0f} MB")


if __name__ == "__main__":
    main()
