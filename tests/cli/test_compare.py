"""`compare` and `analyze` as a shell sees them: result files, runs, tables and pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import posebench
from posebench.engine.provenance import PROTOCOL_VERSION
from posebench.errors import UsageError
from posebench.files import file_sha256
from posebench.skeleton import COCO
from tests.cli.command import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 24 images of two people, and the results of a good model and one that swaps knees."""
    place = tmp_path_factory.mktemp("compared")
    rng = np.random.default_rng(0)
    images: list[Any] = []
    people: list[Any] = []
    good: list[Any] = []
    swapped: list[Any] = []
    left, right = COCO.keypoints.index("left_knee"), COCO.keypoints.index("right_knee")
    for image in range(1, 25):
        images.append({"id": image, "file_name": f"{image}.jpg", "width": 640, "height": 480})
        for x in (50, 350):
            points = rng.uniform(0, 200, (17, 2)) + np.array([x, 100])
            number = len(people) + 1
            people.append(
                {
                    "id": number, "image_id": image, "category_id": 1, "iscrowd": 0,
                    "keypoints": np.column_stack([points, np.full(17, 2)]).ravel().tolist(),
                    "num_keypoints": 17, "area": 20000.0, "bbox": [x, 100, 200, 200],
                }
            )  # fmt: skip
            near = points + rng.normal(0, 2, (17, 2))
            exchanged = near.copy()
            exchanged[[left, right]] = near[[right, left]]
            score = float(rng.uniform(0.5, 1))
            for results, found in ((good, near), (swapped, exchanged)):
                keypoints = np.column_stack([found, np.ones(17)]).ravel().tolist()
                results.append(
                    {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": score}
                )
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}
    truth = {"images": images, "annotations": people, "categories": [category]}
    for name, content in (("val", truth), ("good", good), ("swapped", swapped)):
        (place / f"{name}.json").write_text(json.dumps(content))
    return place


QUICK = ("--draws", "100")


def test_two_files_are_compared(folder: Path, tmp_path: Path) -> None:
    result = run(
        "compare", folder / "swapped.json", folder / "good.json", "--annotations",
        folder / "val.json", *QUICK, "--by", "keypoint,labelled", "--report", tmp_path / "r.html",
        "--out", tmp_path / "tables",
    )  # fmt: skip
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("coco val (val.json): 24 images, 48 people")
    first_model = next(line for line in lines if line.startswith("good "))
    assert first_model.split()[-1] == "a"
    assert any(line.startswith("good − swapped") for line in lines)
    assert "good is better than swapped" in result.out
    assert "left and right" in result.out  # what the files differ in
    assert any(line.startswith("left_knee") for line in lines)
    assert "</html>" in (tmp_path / "r.html").read_text()
    metrics = pd.read_csv(tmp_path / "tables" / "metrics.csv")
    assert {"model", "metric", "value", "low", "high"} <= set(metrics)
    assert (tmp_path / "tables" / "comparison.tex").is_file()


def test_the_numbers_are_those_of_eval(folder: Path) -> None:
    given = (folder / "good.json", folder / "val.json")
    compared = posebench.compare(
        given[0], folder / "swapped.json", annotations=given[1], draws=100, errors=False
    )
    official = posebench.evaluate(predictions=given[0], dataset="coco", annotations=given[1])
    shown = {one.name: one.metrics for one in compared.result.models}["good"]
    for name, interval in shown.items():
        if official.metrics[name] >= 0:
            assert interval.value == pytest.approx(official.metrics[name], abs=1e-12)
    rows = compared.to_dataframe("differences")
    assert [rows[name].iloc[0] for name in ("better", "worse", "dataset")] == [
        "good",
        "swapped",
        "coco",
    ]
    metrics = compared.to_dataframe()
    assert set(metrics["protocol_version"]) == {PROTOCOL_VERSION}
    assert (metrics["data_hash"] != "").all() and set(metrics["seeds"]) == {"draws 0"}
    assert metrics.groupby("model")["results_sha256"].first().to_dict() == {
        name: file_sha256(folder / f"{name}.json") for name in ("good", "swapped")
    }


def test_rows_are_one_json_object(folder: Path) -> None:
    result = run(
        "compare", folder / "good.json", folder / "swapped.json", "--annotations",
        folder / "val.json", *QUICK, "--no-errors", "--json",
    )  # fmt: skip
    rows = json.loads(result.out)["rows"]
    assert {row["table"] for row in rows} >= {"metrics", "differences", "groups", "images"}


def test_a_file_is_analysed(folder: Path, tmp_path: Path) -> None:
    result = run(
        "analyze", folder / "swapped.json", "--annotations", folder / "val.json", *QUICK,
        "--report", tmp_path / "a.html", "--out", tmp_path / "tables",
    )  # fmt: skip
    assert result.code == 0, result.err
    inversion = next(x for x in result.out.splitlines() if x.startswith("inversion"))
    assert inversion.split()[1] == "96"  # both knees of 48 people
    knee = next(x for x in result.out.splitlines() if x.startswith("left_knee"))
    assert "100.0" in knee
    assert "</html>" in (tmp_path / "a.html").read_text()
    assert len(pd.read_csv(tmp_path / "tables" / "joints.csv")) == 48 * 17


def test_predictions_in_memory_are_compared_and_analysed(folder: Path) -> None:
    runs = [
        posebench.evaluate(
            predictions=folder / f"{name}.json", dataset="coco", annotations=folder / "val.json"
        )
        for name in ("good", "swapped")
    ]
    compared = posebench.compare(*runs, names=["a", "b"], draws=100, errors=False)
    assert [one.name for one in compared.result.models] == ["a", "b"]
    analysed = posebench.analyze(runs[1], draws=0)
    errors = analysed.to_dataframe()
    assert errors.loc[errors["kind"] == "inversion", "count"].iloc[0] == 96
    with pytest.raises(UsageError, match="no table named"):
        analysed.to_dataframe("error")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("compare", "good.json", "--annotations", "val.json"), 2, "or use analyze for one alone"),
        (("compare", "good.json", "swapped.json"), 2, "--annotations, or the dataset"),
        (("compare", "good.json", "nowhere.json", "--annotations", "val.json"), 3, "nowhere.json"),
        (("compare", "good.json", "swapped.json", "--by", "sise"), 2, "Did you mean size?"),
        (
            ("compare", "good.json", "swapped.json", "--annotations", "val.json", "--draws", "10"),
            2, "at least 100 draws",
        ),
        (
            ("compare", "good.json", "swapped.json", "--annotations", "val.json", "--reference",
             "god"), 2, "Did you mean good?",
        ),
        (
            ("compare", "good.json", "swapped.json", "--annotations", "val.json", "--names", "a"),
            2, "a name for each",
        ),
        (("analyze", "good.json", "--annotations", "nowhere.json"), 3, "nowhere.json"),
        (
            ("analyze", "good.json", "--annotations", "val.json", "--corrections", "mean"),
            2, "Did you mean meant?",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(folder)
    result = run(*words)
    assert result.code == code
    assert said in " ".join(result.err.split())
    assert not (folder / "runs").exists()
