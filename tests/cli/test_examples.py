"""The two worked examples of docs/datasets.md, from their files to drawn poses.

Workers in folders of their own, exported by CVAT; and cows of five keypoints, exported by SLEAP.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from posebench.data import open_dataset
from posebench.engine import find_model
from posebench.skeleton import COCO
from tests.builders import coco_annotations, make_sample
from tests.cli.command import Result, only, run

# Three steps of two small images.
SHORT = (
    "--steps", "3", "--set", "augment.size=64", "--set", "inference.resize.short_side=64",
    "--set", "batch_size=2", "--set", "micro_batch_size=2", "--workers", "0", "--device", "cpu",
)  # fmt: skip


def ran(*words: str | Path) -> Result:
    """Run a command that must succeed."""
    result = run(*words)
    assert result.code == 0, result.err
    return result


def checks(description: str) -> dict[str, int]:
    """Return what the doctor counts in the training split."""
    rows = json.loads(ran("data", "doctor", description, "--json").out)["rows"]
    assert not [row for row in rows if row["severity"] == "wrong"]
    return {row["check"]: row["count"] for row in rows if row["split"] == "train"}


# -------------------------------------------------------------------------------- A: people, CVAT

WAREHOUSE = """
format = 1
name = "warehouse"
skeleton = "coco"
[splits.train]
images = "day1/rgb"
annotations = "export_cvat/annotations/person_keypoints_train.json"
[splits.val]
images = "day2/rgb"
annotations = "export_cvat/annotations/person_keypoints_val.json"
[read]
category = "worker"
"""


def export_cvat(folder: Path) -> None:
    """Write pictures of two days, and what CVAT exports of them.

    Labels without a skeleton are categories too. A track has an empty list of keypoints.
    """
    for split, day in (("train", "day1"), ("val", "day2")):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in (1, 2):
            sample = make_sample(number, seed=number + 10 * (split == "val"))
            name = f"{day}_{number:06}.png"
            (folder / day / "rgb").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / day / "rgb" / name), sample.image)
            images.append({"id": number, "file_name": name, "width": 128, "height": 128})
            for one in coco_annotations(sample, first_id=len(annotations) + 1, image_id=number):
                more = {"segmentation": [], "attributes": {"occluded": False}}
                annotations.append({**one, "category_id": 3, **more})
            empty = {"keypoints": [], "num_keypoints": 0, "bbox": [0.0] * 4, "area": 0.0}
            for category in (1, 3):  # a box of a forklift; a worker whose track has no points here
                annotations.append(
                    {**annotations[-1], **empty, "id": len(annotations) + 1,
                     "category_id": category}
                )  # fmt: skip
        categories = [
            {"id": 1, "name": "forklift", "supercategory": "", "keypoints": []},
            {"id": 2, "name": "pallet", "supercategory": "", "keypoints": []},
            {"id": 3, "name": "worker", "supercategory": "", "keypoints": list(COCO.keypoints)},
        ]
        path = folder / "export_cvat" / "annotations" / f"person_keypoints_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        path.write_text(json.dumps(content))


def test_workers_in_their_own_folders(trained: Path) -> None:
    export_cvat(Path())
    export = "export_cvat/annotations/person_keypoints_train.json"
    first = tomllib.loads(ran("data", "describe", export, "--images", "day1/rgb").out)
    assert (first["skeleton"], first["read"]["category"]) == ("coco", ["worker"])
    Path("warehouse.toml").write_text(WAREHOUSE)
    described = tomllib.loads(ran("data", "describe", "warehouse.toml").out)
    assert described["skeleton"] == "coco"
    assert described["read"]["category"] == ["worker"]
    assert described["splits"]["val"]["images"] == "day2/rgb"
    counts = checks("warehouse.toml")
    assert (counts["people with labelled keypoints"], counts["no keypoints given"]) == (3, 2)
    assert counts["other category"] == 2

    weights = trained / "checkpoints" / "last.safetensors"
    ran("train", "cid_tiny", "--dataset", "warehouse.toml", "--weights", weights, *SHORT)
    folder = only(Path("runs"), "train/cid_tiny_warehouse_*")
    taken = json.loads((folder / "weights.json").read_text())
    assert not taken["initial"], taken
    ran("eval", folder, "--dataset", "warehouse.toml")
    results = json.loads(only(Path("runs"), "eval/*/predictions.json").read_text())
    assert {one["category_id"] for one in results} == {3}
    assert {len(one["keypoints"]) for one in results} == {51}
    # Other tools find the category of the export in it.
    rows = json.loads(
        ran(
            "eval", "--predictions", only(Path("runs"), "eval/*/predictions.json"), "--dataset",
            "warehouse.toml", "--json",
        ).out
    )["rows"]  # fmt: skip
    metrics = json.loads(only(Path("runs"), "eval/cid_tiny_*/metrics.json").read_text())
    assert {row["metric"]: row["value"] for row in rows} == pytest.approx(
        {name: 100 * value if value >= 0 else None for name, value in metrics.items()}
    )
    ran("viz", "day2/rgb", "--model", folder, "--min-score", "0", "--out", "drawn")
    assert len(list(Path("drawn").rglob("*.png"))) == 2


# ---------------------------------------------------------------------------------- B: cows, SLEAP

COWS = """
format = 1
name = "barn_cows"
[splits.train]
images = "frames"
annotations = "train.json"
[splits.val]
images = "frames"
annotations = "val.json"
[read]
area = 0.53
box = "keypoints"
[skeleton]
keypoints = ["nose", "L_ear", "R_ear", "withers", "tail_base"]
pairs = [["L_ear", "R_ear"]]
limbs = [["nose", "L_ear"], ["nose", "R_ear"], ["nose", "withers"], ["withers", "tail_base"]]
sigmas = { nose = 0.03, L_ear = 0.04, R_ear = 0.04, default = 0.08 }
[protocol]
kind = "oks"
"""


def cow(image: np.ndarray, x: int, y: int, *, flat: bool) -> list[float]:
    """Draw a cow and return its keypoints; `flat`: seen from the side, all in one line."""
    rise = 0 if flat else 12
    points = [(x, y), (x + 8, y - rise), (x + 12, y - rise // 2), (x + 24, y), (x + 60, y)]
    cv2.ellipse(image, (x + 40, y), (24, 10), 0, 0, 360, (60, 90, 150), -1)
    for k, point in enumerate(points):
        cv2.circle(image, point, 3, (40 * k, 255 - 40 * k, 90), -1)
    return [float(value) for point in points for value in (*point, 2)]


def export_sleap(folder: Path) -> None:
    """Write frames, and what SLEAP exports: hulls as boxes and areas, 0 for points in a line."""
    (folder / "frames").mkdir()
    for split, frames in (("train", (0, 1, 2)), ("val", (3, 4))):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for frame in frames:
            image = np.full((96, 128, 3), 40, np.uint8)
            name = f"barn_frame_{frame:06}.png"
            row = cow(image, 20 + 6 * frame, 40, flat=frame % 2 == 0)
            cv2.imwrite(str(folder / "frames" / name), image)
            images.append({"id": frame + 1, "file_name": name, "width": 128, "height": 96})
            xs, ys = row[0::3], row[1::3]
            width, height = max(xs) - min(xs), max(ys) - min(ys)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": frame + 1, "category_id": 1,
                    "keypoints": row, "num_keypoints": 5, "iscrowd": 0, "area": width * height,
                    "bbox": [min(xs), min(ys), width, height], "attributes": {"object_id": 1},
                }
            )  # fmt: skip
        names = ["nose", "L_ear", "R_ear", "withers", "tail_base"]
        skeleton = [[1, 2], [1, 3], [1, 4], [4, 5]]
        category = {"id": 1, "name": "cow", "keypoints": names, "skeleton": skeleton}
        content = {"images": images, "annotations": annotations, "categories": [category]}
        (folder / f"{split}.json").write_text(json.dumps(content))


def test_cows_of_five_keypoints() -> None:
    export_sleap(Path())
    Path("cows.toml").write_text(COWS)
    first = tomllib.loads(ran("data", "describe", "train.json").out)
    assert first["splits"]["all"]["images"].endswith("frames")
    assert first["skeleton"]["limbs"][3] == ["withers", "tail_base"]
    described = tomllib.loads(ran("data", "describe", "cows.toml").out)
    assert described["skeleton"]["pairs"] == [["L_ear", "R_ear"]]
    assert described["skeleton"]["sigmas"] == [0.03, 0.04, 0.04, 0.08, 0.08]
    counts = checks("cows.toml")
    assert counts["people with labelled keypoints"] == 3
    assert "box derived" not in counts  # it is as the description says

    poses = open_dataset("./cows.toml", "val").load(1).poses  # frame 4 is flat
    # From x 44 to 104, grown by 6 on each side; 0.53 of that box.
    assert poses.boxes[0, [0, 3]].tolist() == [[38, 34], [110, 46]]
    assert poses.area.tolist() == pytest.approx([0.53 * 72 * 12])

    trained = ran("train", "cid_tiny", "--dataset", "cows.toml", *SHORT)
    assert "sigmas: 3 given, 2 default 0.08" in trained.out.splitlines()
    assert "area: 0.53 of the box" in trained.out.splitlines()
    folder = only(Path("runs"), "train/cid_tiny_barn_cows_*")
    skeleton = find_model(str(folder)).recipe.skeleton
    assert skeleton is not None
    assert skeleton.flip_index == (0, 2, 1, 3, 4)
    assert skeleton.sigmas == (0.03, 0.04, 0.04, 0.08, 0.08)
    scored = ran("eval", folder)
    assert "ear" in scored.out
    results = json.loads(only(Path("runs"), "eval/*/predictions.json").read_text())
    assert {one["category_id"] for one in results} <= {1}
    bound = json.loads(ran("eval", "cid_tiny", "--oracle", "--dataset", "cows.toml", "--json").out)[
        "rows"
    ]
    assert next(row["value"] for row in bound if row["metric"] == "AP") == 100
    ran("viz", "frames", "--model", folder, "--min-score", "0", "--out", "drawn")
    assert len(list(Path("drawn").rglob("*.png"))) == 5


def test_a_category_of_any_number_is_that_of_the_predictions() -> None:
    export_sleap(Path())
    Path("cows.toml").write_text(COWS)
    for split in ("train", "val"):
        path = Path(f"{split}.json")
        content = json.loads(path.read_text())
        content["categories"][0]["id"] = 5
        for annotation in content["annotations"]:
            annotation["category_id"] = 5
        path.write_text(json.dumps(content))
    ran("eval", "cid_tiny", "--oracle", "--dataset", "cows.toml")
    results = json.loads(only(Path("runs"), "eval/*/predictions.json").read_text())
    assert {one["category_id"] for one in results} == {5}
