"""A small dataset and a run trained on it, for all tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_coco
from tests.cli.command import TINY, only, run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, as `runs/` and `data/` are looked for in it, and off the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSEBENCH_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / ".torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody answers


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data root with three COCO images to train on and two to evaluate on."""
    root = tmp_path_factory.mktemp("data")
    write_coco(root, people=(1, 2, 1))
    write_coco(root, people=(2, 1), split="val")
    return root


@pytest.fixture(scope="session")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a model that saw each image once."""
    runs = tmp_path_factory.mktemp("runs")
    result = run(
        "train", "cid_tiny", "--dataset", "coco", "--data-root", root, *TINY, "--runs", runs
    )
    assert result.code == 0, result.err
    return only(runs, "train/*")
