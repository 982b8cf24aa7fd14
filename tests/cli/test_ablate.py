"""`posebench ablate`: a study from its list to its verdict."""

from __future__ import annotations

import json
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


def test_the_same_command_repeats_nothing(root: Path, study: Path) -> None:
    done = {path: path.stat().st_mtime_ns for path in study.glob("trainings/*/done.json")}
    result = run(
        "ablate", "cid/embedding", *SMALL, "--data-root", root, "--runs", study.parent, "--json"
    )
    assert result.code == 0, result.err
    assert {path: path.stat().st_mtime_ns for path in study.glob("trainings/*/done.json")} == done
    rows = json.loads(result.out)["rows"]
    assert {row["source"] for row in rows} == {"ablation:cid/embedding"}
    assert "8 are done already" in result.err


def test_what_it_prints_ends_with_the_verdict(root: Path, study: Path) -> None:
    result = run("ablate", "cid/embedding", *SMALL, "--data-root", root, "--runs", study.parent)
    assert "66.1" in result.out  # printed
    assert "6 pairs" in result.out
    assert str(only(study, "cid_embedding_*")) in result.out.replace("\n", "")


def test_the_list_has_all_studies() -> None:
    result = run("ablate", "--list", "--json")
    rows = json.loads(result.out)["rows"]
    by_name = {row["study"]: row for row in rows}
    assert [row["entry"] for row in rows][:3] == ["A1", "A2", "A3"]
    assert by_name["cid/recalibration"]["trainings"] == 6
    assert by_name["cid/recalibration"]["epochs"] == 6 * 35
    assert by_name["posedet/grid"]["trainings"] == 4  # of eight variants
    assert by_name["posedet/suppression"]["trainings"] == 0
    assert by_name["cid/time"]["command"].startswith("posebench speed")
    assert by_name["group_pose/reliance"]["command"].startswith("posebench viz")
    assert "cid/recalibration" in run("ablate").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("cid/recalibratoin",), 2, "Did you mean cid/recalibration?"),
        (("cid/embedding", "--budget", "ten"), 2, "such as 90s, 10m or 2h"),
        (("cid/embedding", "--budget", "0m"), 2, "above 0"),
        (("cid/embedding", "--budget", "10m", "--epochs", "3"), 2, "leave one out"),
        (("cid/embedding", "--dataset", "mpii"), 2, "coco, crowdpose or synthetic"),
        (("cid/embedding", "--recipe", "posedet_tiny"), 2, "studies cid"),
        (("cid/time",), 2, "posebench speed"),
        (("cid/backbone", "--dataset", "crowdpose"), 2, "choose --dataset coco"),
        (("cid/embedding", "--set", "embeding=8"), 2, "Did you mean embedding?"),
        (("cid/embedding", "--dataset", "coco", "--device", "cpu"), 3, "is not there"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    words: tuple[str, ...], code: int, said: str
) -> None:
    result = run("ablate", *words)
    assert result.code == code
    assert said in " ".join(result.err.split())
    assert "Traceback" not in result.err
