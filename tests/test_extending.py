"""The examples of docs/extending.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Commands one after another in one process, which imports torch once.
COMMANDS = """
import contextlib, io, json, sys
from posebench.cli import main
if __name__ == "__main__":
    for words in json.loads(sys.argv[1]):
        sys.argv = ["posebench", *words]
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code or 0
        print(json.dumps([code, out.getvalue(), error.getvalue()]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page's files, and a dataset of two cows."""
    root = tmp_path_factory.mktemp("extending")
    page = (ROOT / "docs" / "extending.md").read_text()
    blocks = re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```$", page, re.M | re.S)
    assert [name for _, name in blocks] == [
        "mean_pose.py", "mean_pose_model.py", "within.py", "barn.py", "middle.py",
    ]  # fmt: skip
    for text, name in blocks:
        (root / name).write_text(text)
    (root / "run.py").write_text(COMMANDS)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        barn = root / "data" / "barn"
        (barn / split).mkdir(parents=True)
        images, annotations = [], []
        for number in (1, 2):
            cv2.imwrite(str(barn / split / f"{number}.png"), rng.integers(0, 255, (64, 64, 3)))
            images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
            points = [[32, 32, 2], [20, 20, 2], [44, 20, 2], [32, 60, 2]]
            annotations.append(
                {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "area": 900,
                 "bbox": [10, 10, 44, 54], "num_keypoints": 4,
                 "keypoints": np.ravel(points).tolist()}
            )  # fmt: skip
        category = {"id": 1, "name": "cow", "keypoints": ["nose", "left_ear", "right_ear", "tail"]}
        content = {"images": images, "annotations": annotations, "categories": [category]}
        (barn / f"{split}.json").write_text(json.dumps(content))
    return root


def run(folder: Path, *lines: str, plugins: str = "") -> list[tuple[int, str, str]]:
    """Return the exit code, output and messages of each command."""
    done = subprocess.run(
        [sys.executable, "run.py", json.dumps([line.split() for line in lines])],
        cwd=folder, capture_output=True, text=True, check=True,
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "POSEBENCH_PLUGINS": plugins,
            "POSEBENCH_CACHE": str(folder / "cache"),
        },
    )  # fmt: skip
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def rows(printed: str) -> dict[str, Any]:
    return {row["metric"]: row for row in json.loads(printed)["rows"]}


def test_the_method_is_trained_tested_and_listed_like_any_other(folder: Path) -> None:
    done = run(
        folder,
        "--plugin mean_pose.py train mean_pose --dataset synthetic --limit 2 --device cpu",
        "models mean_pose_tiny",
        "models mean --json",
    )
    assert [code for code, _, _ in done] == [0, 0, 0], done
    assert "plugin mean_pose.py" in done[1][1]
    [row] = json.loads(done[2][1])["rows"]
    assert (row["recipe"], row["params_M"]) == ("mean_pose_tiny", pytest.approx(0.00149, rel=0.01))
    [made] = (folder / "runs" / "train").iterdir()
    assert json.loads((made / "recipe.json").read_text())["plugin"] == "mean_pose.py"
    # Without the file, runs and checkpoints say which is missing.
    for line in (f"eval {made}", f"train --resume {made}", f"viz data --model {made}"):
        [(code, _, said)] = run(folder, line)
        assert code in (3, 4), said
        if code == 4:
            assert "recipe mean_pose_tiny of the plugin mean_pose.py, which is missing" in said
            assert "posebench --plugin mean_pose.py" in said
    image = folder / "data" / "barn" / "val" / "1.png"
    done = run(
        folder,
        f"eval {made} --limit 2 --json",
        f"viz {image} --model {made} --out drawn.png",
        f"train --resume {made} --set epochs=2",
        plugins=str(folder / "mean_pose.py"),
    )
    assert [code for code, _, _ in done] == [0, 0, 0], done
    assert rows(done[0][1])["AP"]["method"] == "mean_pose" and (folder / "drawn.png").is_file()


def test_the_dataset_is_evaluated_by_its_metric(folder: Path) -> None:
    predictions = [
        {"image_id": 1, "category_id": 1, "score": 1.0,
         "keypoints": [32, 32, 1, 20, 20, 1, 44, 20, 1, 0, 0, 1]},
    ]  # fmt: skip
    (folder / "found.json").write_text(json.dumps(predictions))
    (folder / "described.toml").write_text(
        'format = 1\nname = "own_barn"\nroot = "data/barn"\n'
        '[splits.val]\nimages = "val"\nannotations = "val.json"\n'
        '[protocol]\nkind = "within_tenth"\n'
    )
    done = run(
        folder,
        "data list --json",
        "eval --predictions found.json --dataset barn --json",
        "eval --predictions found.json --dataset described.toml",
        "train mean_pose --dataset barn --limit 1 --device cpu --workers 1 --plugin mean_pose.py",
        "train cid --dataset barn --set epoch=3",  # COCO's recipe is taken
        "ablate cid/embedding --dataset barn --set epochs=1",
        "eval --predictions found.json --dataset coco --plugin middle.py",
        plugins=os.pathsep.join(str(folder / name) for name in ("barn.py", "within.py")),
    )
    assert '"barn"' in done[0][1]
    # Three of the four keypoints of one of two people.
    assert {name: row["value"] for name, row in rows(done[1][1]).items()} == {"within": 37.5}
    assert "37.5" in done[2][1] and "left" not in done[2][1]
    assert done[3][0] == 0, done[3]
    assert "Did you mean epochs?" in done[4][2]
    assert (done[5][0], "barn" in done[5][2]) == (2, True)
    assert done[6][0] == 3  # COCO's files are not there; the plugin is no obstacle


def test_the_predictor_is_scored_timed_and_drawn(folder: Path) -> None:
    image = folder / "data" / "barn" / "val" / "1.png"
    done = run(
        folder,
        "--plugin middle.py eval middle --dataset synthetic --limit 4 --json",
        "speed --models cid_tiny,middle --quick --budget 0.1 --device cpu",
        f"viz {image} --model middle --out middle.png",
        f"viz {image} --model middle --heatmaps",
        "speed --models middle --precision bf16",
        "eval middle --dataset synthetic --flip",
        "train middle --dataset synthetic",
    )
    assert [code for code, _, _ in done] == [0, 0, 0, 4, 2, 2, 2], done
    found = rows(done[0][1])["AP"]
    assert (found["recipe"], found["method"]) == ("middle", "") and found["value"] >= 0
    [line] = [line for line in done[1][1].splitlines() if line.startswith("middle ")]
    assert line.count("–") == 4, line  # memory, parameters, operations, the network's time
    assert "predict" in done[1][1]
    assert (folder / "middle.png").is_file()
    for code, word in ((3, "--heatmaps"), (4, "--precision bf16"), (5, "--flip")):
        assert word in done[code][2]
