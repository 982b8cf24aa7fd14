"""Mask R-CNN's published weights on the command line, with a network and without one."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from posebench.engine import latest_run, read_checkpoint, trained_on
from posebench.engine.checkpoint import save_weights
from posebench.models import RECIPES
from posebench.models.mask_rcnn import MaskRCNN
from posebench.published import Published, find_published
from posebench.skeleton import COCO
from tests.cli.command import run

NAME = "mask_rcnn_resnet50_coco"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have a network whose Mask R-CNN is a tiny one, and return the URLs that are asked for."""
    asked: list[str] = []
    tiny = RECIPES["mask_rcnn_tiny"]
    recipe = replace(RECIPES[NAME], config=tiny.config, inference=tiny.inference)
    monkeypatch.setitem(RECIPES, NAME, recipe)

    def download(url: str, target: Path, **options: Any) -> Path:
        asked.append(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.save(recipe.build(COCO).state_dict(), target)
        return target

    monkeypatch.setattr("posebench.engine.weights.download", download)
    # The tiny backbone's batch norms count, so nothing may be left out of its weights.
    monkeypatch.setattr(MaskRCNN, "ignored_checkpoint_keys", ())
    return asked


def published() -> Published:
    entry = find_published(NAME)
    assert entry is not None
    return entry


def picture() -> Path:
    path = Path("image.png")
    Image.new("RGB", (80, 60), (90, 120, 60)).save(path)
    return path


def test_a_picture_is_drawn_with_the_baseline_where_nothing_was_trained(
    network: list[str],
) -> None:
    result = run("viz", picture(), "--out", "drawn", "--device", "cpu")
    assert result.code == 0, result.err
    assert NAME in result.err
    assert network == [published().url]
    assert Path(result.out.strip()).is_file()


def test_a_trained_run_comes_before_the_baseline(trained: Path) -> None:
    result = run("viz", picture(), "--runs", trained.parents[1], "--out", "drawn")
    assert result.code == 0, result.err
    assert NAME not in result.err


def test_the_baseline_is_evaluated_by_its_name(network: list[str], root: Path) -> None:
    result = run("eval", NAME, "--data-root", root, "--device", "cpu")
    assert result.code == 0, result.err
    assert len(network) == 1


def test_a_picture_without_runs_or_network_is_one_sentence() -> None:
    result = run("viz", picture())
    assert result.code == 4
    sentence = result.err.splitlines()[-1]
    named = ("--model cid_tiny", "weights import", "posebench train", NAME, "network")
    assert all(word in sentence for word in named)
    assert sentence.count(". ") == 0


def synthetic(run_folder: Path, runs: Path) -> Path:
    """Write a copy of a run, as if it had been trained on synthetic images, newer than it."""
    checkpoint = read_checkpoint(run_folder)
    path = runs / "train" / "newer" / "checkpoints" / "last.safetensors"
    path.parent.mkdir(parents=True)
    facts = {**checkpoint.facts, "dataset": "synthetic"}
    save_weights(path, checkpoint.model(), checkpoint.recipe, checkpoint.skeleton, facts)
    return path.parents[1]


def test_the_newest_run_on_real_images_draws(trained: Path, tmp_path: Path) -> None:
    runs = tmp_path / "both"
    shutil.copytree(trained, runs / "train" / trained.name)
    newer = synthetic(trained, runs)
    os.utime(runs / "train" / trained.name, (1, 1))
    assert latest_run(runs, "train") == newer
    assert (trained_on(newer), trained_on(trained)) == ("synthetic", "coco")
    result = run("viz", picture(), "--runs", runs, "--out", "drawn")
    assert result.code == 0, result.err
    assert str(runs / "train" / trained.name) in result.err


def test_runs_on_synthetic_images_alone_leave_photographs_to_the_baseline(
    trained: Path, tmp_path: Path, network: list[str]
) -> None:
    synthetic(trained, tmp_path / "runs")
    result = run("viz", picture(), "--out", "drawn", "--device", "cpu")
    assert result.code == 0, result.err
    assert "trained on real images" in result.err and NAME in result.err
    assert len(network) == 1
    named = run("viz", picture(), "--model", "runs/train/newer", "--out", "drawn")
    assert named.code == 0, named.err


def test_a_damaged_checkpoint_of_the_newest_run_is_named(trained: Path, tmp_path: Path) -> None:
    newer = synthetic(trained, tmp_path / "runs")
    path = newer / "checkpoints" / "last.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert trained_on(newer) == ""
    result = run("viz", picture())
    assert result.code == 4
    assert str(path.relative_to(tmp_path)) in result.err


def test_weights_that_cannot_be_downloaded_say_where_to_put_them() -> None:
    result = run("eval", NAME, "--oracle", "--data-root", ".")
    assert result.code == 3  # ideal outputs need no weights, but data
    result = run("viz", picture(), "--model", NAME)
    assert result.code == 4
    assert published().url in result.err
    assert str(published().path.parent) in result.err


def test_a_recipe_without_published_weights_says_so() -> None:
    result = run("viz", picture(), "--model", "cid_hrnet_w32_crowdpose")
    assert result.code == 4
    assert "put it at" in result.err  # those of its authors can be had by hand
    result = run("viz", picture(), "--model", "posedet_dla34_coco")
    assert result.code == 4
    assert "weights import" in result.err
