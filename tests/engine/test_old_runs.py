"""Runs written at commit 7b01f22 are read, evaluated and resumed by today's code.

They lie in `tests/runs`; its README.md says how they were made. Evaluations have to agree to the
digits that rounding leaves. Training multiplies rounding errors, about tenfold a step, so losses
after the first resumed step are compared less closely; the figures beside the tolerances are from
other instruction sets and two threads in place of one.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch

from posebench import engine
from posebench.data import PoseDataset, open_dataset, transforms
from posebench.layers import fused_conv
from posebench.layers.oks import count_keypoints
from posebench.skeleton import Skeleton
from posebench.structures import Poses
from tests.cli.command import only
from tests.cli.command import run as posebench
from tests.runs.unpack import moved, tensors_of, unpack

PACKED = Path(__file__).parents[1] / "runs"
RECIPES = (
    "cid_tiny",
    "dgcn_tiny",
    "group_pose_tiny",
    "higher_hrnet_tiny",
    "mask_rcnn_tiny",
    "pifpaf_tiny",
    "posedet_tiny",
)
BEST = 5  # people of an image whose keypoints were recorded
SAME = 1e-4  # relative, of scores, keypoints, metrics; seen: 2.4e-5
FIRST_LOSS = 3e-5  # of the loss, of its terms in the first resumed step; seen: 4e-6
LATER_LOSS = 1e-3  # of later ones; seen: 3e-4. Without the optimizer's moments: up to 8e-2
DISTANCE = 1e-2  # relative; seen: 1.3e-4. Without the moments: 0.3 and more


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute as the old runs did; sums depend on the number of threads."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


@pytest.fixture(scope="module", params=RECIPES)
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an old run, named like its recipe; tests change copies only."""
    return unpacked(request.param, tmp_path_factory.mktemp("old"))


def unpacked(recipe: str, place: Path) -> Path:
    run = place / recipe
    unpack(PACKED / recipe, run)
    return run


def expected(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(PACKED / run.name / "expected.json")
    return found


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def images(split: str) -> PoseDataset:
    return open_dataset("coco", split, root=PACKED / "data")


# ------------------------------------------------------------------------------------ comparisons


def assert_people(results: Sequence[dict[str, Any]], wanted: dict[str, Any]) -> None:
    """Check the number of people in each image, and the best of them."""
    counts = Counter(str(person["image_id"]) for person in results)
    # Rounding can lift a person over the least score, or not.
    assert counts == pytest.approx(wanted["people"], rel=0.02, abs=1)
    results = sorted(results, key=lambda person: -person["score"])
    best = [
        person
        for image in wanted["people"]
        for person in [p for p in results if str(p["image_id"]) == image][:BEST]
    ]
    for field in ("image_id", "score", "keypoints"):
        values, recorded = ([p[field] for p in people] for people in (best, wanted["best"]))
        np.testing.assert_allclose(values, recorded, rtol=SAME, atol=1e-6, err_msg=field)


def assert_metrics(found: dict[str, float], wanted: dict[str, float]) -> None:
    assert list(found) == list(wanted)
    assert found == pytest.approx(wanted, rel=SAME, abs=1e-6)


def assert_finished(run: Path, start: dict[str, dict[str, torch.Tensor]]) -> None:
    """Check that a run which began at `start` went on as the old code went on."""
    wanted = expected(run)["resumed"]
    assert_log(run)
    end = tensors_of(run)
    assert end.keys() == wanted["moved"].keys()
    for kind, distances in wanted["moved"].items():
        assert moved(start[kind], end[kind]) == pytest.approx(distances, rel=DISTANCE)
    for name, facts in wanted["facts"].items():
        checkpoint = engine.read_checkpoint(run / "checkpoints" / f"{name}.safetensors")
        assert checkpoint.facts == facts
    # What the run was started with stays as it was written.
    for name in ("recipe.json", "environment.json"):
        assert (run / name).read_text() == (PACKED / run.name / name).read_text()


def assert_log(run: Path) -> None:
    before = engine.read_log(PACKED / run.name)
    log, wanted = engine.read_log(run), engine.read_log(PACKED / run.name / "finished")
    assert log[: len(before)] == before
    assert len(log) > len(before) + 2  # two steps at least: the second one needs the moments
    tolerance = FIRST_LOSS
    for found, line in list(zip(log, wanted, strict=True))[len(before) :]:
        assert found.keys() == line.keys()
        if "loss" in line:
            fixed = ("step", "epoch", "lr")
            assert [found[name] for name in fixed] == [line[name] for name in fixed]
            terms = [name for name in line if name not in (*fixed, "images_per_second")]
            assert {name: found[name] for name in terms} == pytest.approx(
                {name: line[name] for name in terms}, rel=0, abs=tolerance * line["loss"]
            )
            tolerance = LATER_LOSS
    assert log[-1]["metrics"] == read(run / "metrics.json")
    assert list(log[-1]["metrics"]) == list(wanted[-1]["metrics"])


def files(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------------ tests


def test_what_is_packed_is_as_it_was_written(old: Path) -> None:
    packed = PACKED / old.name
    assert read(packed / "environment.json")["commit"] == "7b01f22"
    assert {"images_per_pass", "test_time"} <= read(packed / "recipe.json").keys()
    assert all(read(packed / "expected.json")["evaluated"]["people"].values())


@pytest.mark.parametrize("which", ["best", "last"])
def test_an_old_checkpoint_is_read(old: Path, which: str) -> None:
    place = old if which == "best" else old / "checkpoints" / "last.safetensors"
    checkpoint = engine.read_checkpoint(place)
    assert checkpoint.path.name == f"{which}.safetensors"
    metadata = read(PACKED / old.name / f"{which}.json")["metadata"]
    assert checkpoint.facts == json.loads(metadata["facts"])
    assert checkpoint.skeleton.name == "coco"
    saved = json.loads(metadata["recipe"])
    kept = ("name", "epochs", "batch_size", "lr", "optimizer", "ema_decay", "evaluate_every")
    assert [getattr(checkpoint.recipe, name) for name in kept] == [saved[name] for name in kept]
    state = checkpoint.model().state_dict()
    assert all(torch.equal(state[name], checkpoint.weights[name]) for name in state)


def test_an_old_run_evaluates_as_it_did(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Fused convolutions round otherwise, and this DGCN, which hardly learned, has people of nearly
    # equal scores, whose order decides. tests/layers/test_fused_conv.py compares both forms.
    if old.name == "dgcn_tiny":
        monkeypatch.setattr(fused_conv, "available", lambda: False)
    checkpoint = engine.read_checkpoint(old)
    evaluation = engine.evaluate(checkpoint.model(), images("val"), checkpoint.recipe.inference)
    wanted = expected(old)["evaluated"]
    assert_people(evaluation.results, wanted)
    assert_metrics(evaluation.metrics, wanted["metrics"])


def former_crop_centres(poses: Poses, skeleton: Skeleton) -> torch.Tensor:
    """Return the centres of PoseDet's crops as 7b01f22 chose them, other than the published code.

    They were the people with at least the median of counted keypoints.
    """
    boxes = torch.cat([poses.boxes, poses.unlabelled])
    counts = np.zeros(len(boxes))
    counts[: len(poses)] = count_keypoints(poses.visibility.numpy(), skeleton)
    return boxes[torch.from_numpy(counts >= np.median(counts))].mean(1)


def test_an_old_run_is_resumed_to_its_end(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Or PoseDet would train on other crops than the recorded ones.
    monkeypatch.setattr(transforms, "crop_centres", former_crop_centres)
    run = tmp_path / old.name
    shutil.copytree(old, run)
    recipe = engine.read_checkpoint(run).recipe
    options = engine.TrainOptions(torch.device("cpu"))
    evaluation = engine.train(recipe, images("train"), images("val"), run, options, resume=True)
    assert_finished(run, tensors_of(old))
    assert read(run / "metrics.json") == evaluation.metrics
    assert read(run / "predictions.json") == evaluation.results
    assert [*files(run), "results.csv"] == expected(old)["resumed"]["files"]


@pytest.mark.parametrize("recipe", ["group_pose_tiny", "higher_hrnet_tiny"])
def test_commands_take_an_old_run(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(PACKED / "data")  # where the run's own command line looks for it
    run = unpacked(recipe, tmp_path)
    start = tensors_of(run)

    result = posebench("eval", run, "--data-root", "data", "--device", "cpu")
    assert result.code == 0, result.err
    evaluated = only(tmp_path, "runs/eval/*")
    wanted = expected(run)["evaluated"]
    assert_people(read(evaluated / "predictions.json"), wanted)
    assert_metrics(read(evaluated / "metrics.json"), wanted["metrics"])

    _, *command = read(run / "environment.json")["command"]
    # The second one as it is enough today: what 7b01f22 was asked for is in its command line.
    again = command if recipe == "group_pose_tiny" else ["train"]
    result = posebench(*again, "--resume", run)
    assert result.code == 0, result.err
    assert_finished(run, start)
    assert files(run) == sorted([*expected(run)["resumed"]["files"], "request.json"])
    before = rows(PACKED / recipe / "finished")
    # Later versions add columns.
    assert [{name: row[name] for name in before[0]} for row in rows(run)] == before


def rows(run: Path) -> list[dict[str, str]]:
    """Return `results.csv` without what differs from one machine and day to another."""
    changing = ("value", "hardware", "date", "commit")
    with (run / "results.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert found
    assert all(name in found[0] for name in changing)
    return [{k: v for k, v in row.items() if k not in changing} for row in found]
