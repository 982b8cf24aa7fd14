"""`posebench ablate`: a study from its list to its verdict."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.cli.command import TINY, only, run

# The tiny recipe on a few small images, one epoch long; TINY's first setting is that of epochs.
SMALL = (
    "--dataset", "coco", "--recipe", "cid_tiny", "--epochs", "1", "--seeds", "2", *TINY[2:],
)  # fmt: skip


@pytest.fixture(scope="module")
def study(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results folder of a study of two variants and two seeds."""
    runs = tmp_path_factory.mktemp("ablate")
    result = run("ablate", "cid/embedding", *SMALL, "--data-root", root, "--runs", runs)
    assert result.code == 0, result.err
    return runs / "ablate"


def test_a_study_leaves_its_tables_and_a_plot(study: Path) -> None:
    own = only(study, "cid_embedding_*")
    rows = pd.read_csv(own / "results.csv")
    assert set(rows["variant"].astype(str)) == {"8", "16", "32", "64"}
    assert set(rows["seed"]) == {0, 1}
    summary = pd.read_csv(own / "summary.csv")
    assert summary["printed"].tolist() == [62.8, 64.4, 66.0, 66.1]
    assert summary["n"].tolist() == [2] * 4
    assert len(pd.read_csv(own / "pairs.csv")) == 6
    assert (own / "plot.png").stat().st_size > 1000
    assert len(list((study / "trainings").glob("*/done.json"))) == 8
