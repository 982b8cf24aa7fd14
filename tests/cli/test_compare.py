"""`compare` and `analyze` as a shell sees them: result files, runs, tables and pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import posebench
from posebench.bench import groups
from posebench.cli.compare import GROUPINGS
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
        folder / "val.json", *QUICK, "--by", "keypoint, labelled", "--report", tmp_path / "r.html",
        "--out", tmp_path / "tables", "--group-p",
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
    [knee] = [line for line in lines if line.startswith("good − swapped  left_knee")]
    assert float(knee.split()[-1]) < 0.05
    page = (tmp_path / "r.html").read_text()
    assert "</html>" in page and "p, Benjamini–Hochberg" in page
    metrics = pd.read_csv(tmp_path / "tables" / "metrics.csv")
    assert {"model", "metric", "value", "low", "high"} <= set(metrics)
    assert "$^{\\mathrm{a}}$" in (tmp_path / "tables" / "comparison.tex").read_text()
    assert "<sup>a</sup>" in (tmp_path / "tables" / "comparison.md").read_text()
    assert "comparison.tex, comparison.md" in result.err


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
    [pair] = [row for row in rows if row["table"] == "differences" and row["group"] == "all"]
    assert str(pair["draws"]) == "100" and "image_id" not in pair
    analysed = run(
        "analyze", folder / "swapped.json", "--annotations", folder / "val.json", "--draws", "0",
        "--json",
    )  # fmt: skip
    rows = json.loads(analysed.out)["rows"]
    inversions = [row for row in rows if row["table"] == "errors" and row["kind"] == "inversion"]
    assert [str(row["count"]) for row in inversions] == ["96", "96"]
    assert "keypoint" not in inversions[0]


def part(folder: Path, images: int, *, annotated: bool = True) -> Path:
    """Write the first images of the annotations, and the good model's poses on them."""
    content = json.loads((folder / "val.json").read_text())
    content["images"] = content["images"][:images]
    content["annotations"] = [
        one for one in content["annotations"] if annotated and one["image_id"] <= images
    ]
    Path("val.json").write_text(json.dumps(content))
    found = json.loads((folder / "good.json").read_text())
    Path("good.json").write_text(json.dumps([one for one in found if one["image_id"] <= images]))
    return Path("good.json")


def test_a_single_image_is_analysed_without_intervals_and_not_compared(folder: Path) -> None:
    good = part(folder, 1)
    result = run("analyze", good, "--annotations", "val.json", *QUICK, "--report", "a.html")
    assert result.code == 0, result.err
    assert result.out.splitlines()[0].endswith("; 1 image, 2 people")
    assert "95 %:" not in result.out
    result = run("compare", good, good, "--annotations", "val.json", *QUICK)
    assert (result.code, "at least two" in result.err) == (3, True)


@pytest.mark.parametrize("command", ["compare", "analyze"])
def test_images_without_people_are_refused(folder: Path, command: str) -> None:
    good = part(folder, 3, annotated=False)
    given = (good, good) if command == "compare" else (good,)
    result = run(command, *given, "--annotations", "val.json", *QUICK)
    assert result.code == 3
    assert "Nobody is annotated in the 3 images" in " ".join(result.err.split())


def test_keypoints_of_a_model_that_finds_nobody_have_no_shares(folder: Path) -> None:
    Path("none.json").write_text("[]")
    result = run("analyze", "none.json", "--annotations", folder / "val.json", "--draws", "0")
    assert result.code == 0, result.err
    knee = next(x for x in result.out.splitlines() if x.startswith("left_knee"))
    assert set(knee.split()[1:]) == {"–"}


def test_too_few_draws_for_many_models_are_said(folder: Path) -> None:
    words = ("--annotations", folder / "val.json", *QUICK, "--no-errors", "--json")
    given = [folder / "good.json"] * 3 + [folder / "swapped.json"]
    said = " ".join(run("compare", *given, *words).err.split())
    assert "take at least 120 draws" in said
    assert "draws" not in run("compare", *given[2:], *words).err


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


def test_images_that_decide_have_the_sign_of_what_they_add(folder: Path, tmp_path: Path) -> None:
    kept = json.loads((folder / "good.json").read_text())
    lost = [one for one in kept if one["image_id"] != 7]
    (tmp_path / "whole.json").write_text(json.dumps(kept))
    (tmp_path / "lost.json").write_text(json.dumps(lost))
    words = ("--annotations", folder / "val.json", *QUICK, "--no-errors", "--worst", "1")
    said = run("compare", tmp_path / "whole.json", tmp_path / "lost.json", *words).out
    [line] = [one for one in said.splitlines() if one.startswith("Images that decide most")]
    assert line.split(": ")[1].startswith("7 (+")
    said = run("compare", tmp_path / "whole.json", tmp_path / "whole.json", *words).out
    assert "whole (1) − whole (2)" in said and "Images that decide" not in said


def test_groupings_are_those_that_are_computed() -> None:
    assert GROUPINGS == groups.GROUPINGS


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
    inversion = errors.loc[(errors["kind"] == "inversion") & (errors["mode"] == "alone")].iloc[0]
    assert inversion["count"] == 96
    # In percent, as the AP of a comparison.
    cost = analysed.result.cost("inversion", "alone").cost.value
    assert inversion["cost"] == pytest.approx(100 * cost) and inversion["cost"] > 1
    assert inversion["ap"] == pytest.approx(100 * runs[1].metrics["AP"])
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
