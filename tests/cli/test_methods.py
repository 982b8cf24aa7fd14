"""Every method through every command, on data that has a bit of everything wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from posebench.engine import read_log
from posebench.models import RECIPES
from tests.builders import write_coco
from tests.cli.command import TINY, only, run

CPU = ("--workers", "0", "--device", "cpu")
TINY_RECIPES = [name for name in RECIPES if name.endswith("_tiny") and name != "cid_tiny"]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Return a data root whose images are crowded, empty, narrow, cut short and of one pixel."""
    root = tmp_path / "data"
    for split in ("train", "val"):
        annotations = write_coco(root, people=(3, 40, 0, 1, 2, 1), split=split)
        content = json.loads(annotations.read_text())
        images = root / "coco" / f"{split}2017"
        first, crowd, _, narrow, cut, dot = content["images"]
        # A box without area, a person far outside, and one without any keypoint.
        outside, unlabelled, flat = (a for a in content["annotations"] if a["image_id"] == 1)
        outside["keypoints"] = [5000.0, -5000.0, 2] * 17
        unlabelled |= {"keypoints": [0, 0, 0] * 17, "num_keypoints": 0}
        flat |= {"bbox": [30, 40, 0, 0], "area": 0.0}
        for image, size in ((narrow, (300, 16)), (dot, (1, 1))):
            Image.new("RGB", size, (90, 120, 60)).save(images / image["file_name"])
            image |= {"width": size[0], "height": size[1]}
        broken = images / cut["file_name"]
        broken.write_bytes(broken.read_bytes()[:300])
        annotations.write_text(json.dumps(content))
        assert {first["id"], crowd["id"]} == {1, 2}
    return root


def small(name: str) -> tuple[str, ...]:
    """Return the settings of `TINY` as far as the recipe's augmentation has them."""
    if hasattr(RECIPES[name].augment, "size"):
        return TINY
    sides = ("--set", "augment.short_sides=[64]", "--set", "augment.long_side=128")
    at = TINY.index("augment.size=64")
    return (*TINY[: at - 1], *sides, *TINY[at + 1 :])


@pytest.mark.parametrize("name", ["cid_tiny", *TINY_RECIPES])
def test_a_method_learns_and_is_scored_on_mpii(name: str, tmp_path: Path) -> None:
    assert (
        run("data", "synth", "DATA", "--images", "5", "--layout", "mpii", "--size", "64").code == 0
    )
    data = ("--dataset", "mpii", "--data-root", "DATA")
    result = run("train", name, *data, *small(name))
    assert result.code == 0, result.err
    metrics = json.loads((only(Path("runs"), "train/*") / "metrics.json").read_text())
    assert 0 <= metrics["PCKh@0.5 (matched)"] <= 1
    method = RECIPES[name].method
    own = [recipe for recipe in RECIPES.values() if recipe.method == method]
    has_default = any("mpii" in recipe.default_for for recipe in own)
    bound = run("eval", method if has_default else name, "--oracle", *data, "--json")
    assert bound.code == 0, bound.err
    values = {row["metric"]: row["value"] for row in json.loads(bound.out)["rows"]}
    assert values["PCKh@0.5 (matched)"] > 90


@pytest.mark.parametrize("name", TINY_RECIPES)
def test_a_method_goes_through_every_command(name: str, odd: Path) -> None:
    data = ("--dataset", "coco", "--data-root", odd)
    result = run("train", name, *data, *small(name))
    assert result.code == 0, result.err
    assert "could not be read" in result.err
    folder = only(Path("runs"), "train/*")
    assert all(np.isfinite(entry["loss"]) for entry in read_log(folder) if "loss" in entry)

    assert run("eval", folder, *data, *CPU, "--scales", "0.5,1,2").code == 0
    assert run("eval", name, "--oracle", *data).code == 0
    assert run("train", name, *data, *small(name), "--resume", folder).code == 0

    for size in ((1, 1), (300, 16), (80, 64)):
        Image.new("L", size, 90).save("x.png")
        drawn = run("viz", "x.png", "--model", folder, "--heatmaps", "--out", "drawn", *CPU[2:])
        assert drawn.code == 0, drawn.err
        assert cv2.imread("drawn/x.png") is not None
