"""What is compared: which images are meant, and what the models are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posebench.api.entrants import DataOptions, open_entrants
from posebench.errors import DataError, UsageError
from posebench.metrics.writers import writer_of
from posebench.skeleton import COCO, CROWDPOSE, Skeleton


def write_truth(path: Path, skeleton: Skeleton, images: int = 2) -> Path:
    """Write a person in each image, all of whose keypoints are labelled."""
    keypoints = [value for k in range(len(skeleton)) for value in (10 + 3 * k, 20 + 5 * k, 2)]
    path.write_text(
        json.dumps(
            {
                "images": [
                    {"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 200}
                    for i in range(1, images + 1)
                ],
                "annotations": [
                    {
                        "id": i, "image_id": i, "category_id": 1, "keypoints": keypoints,
                        "num_keypoints": len(skeleton), "area": 5000.0, "iscrowd": 0,
                        "bbox": [5, 15, 100, 100],
                    }
                    for i in range(1, images + 1)
                ],
                "categories": [
                    {"id": 1, "name": "person", "keypoints": list(skeleton.keypoints)}
                ],
            }
        )
    )  # fmt: skip
    return path


def results(path: Path, skeleton: Skeleton, *, images: int = 2, **extra: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    keypoints = [value for k in range(len(skeleton)) for value in (10 + 3 * k, 20 + 5 * k, 1)]
    path.write_text(
        json.dumps(
            [
                {"image_id": i, "category_id": 1, "keypoints": keypoints, "score": 0.5} | extra
                for i in range(1, images + 1)
            ]
        )
    )
    return path


@pytest.mark.parametrize(
    ("skeleton", "dataset"), [(COCO, "coco"), (CROWDPOSE, "crowdpose")], ids=("coco", "crowdpose")
)
def test_an_annotation_file_says_whose_rules_apply(
    tmp_path: Path, skeleton: Skeleton, dataset: str
) -> None:
    options = DataOptions(annotations=write_truth(tmp_path / "val.json", skeleton))
    data, [one] = open_entrants([results(tmp_path / "a.json", skeleton)], options)
    assert data.name == dataset
    assert data.protocol.area_of_box == (0.53 if dataset == "crowdpose" else None)
    assert len(one.detections.scores) == 2


def test_own_keypoints_are_scored_by_their_own_description(tmp_path: Path) -> None:
    kite = Skeleton("kite", ("top", "tail"), (), (0.1, 0.1))
    path = write_truth(tmp_path / "val.json", kite)
    data, _ = open_entrants([results(tmp_path / "a.json", kite)], DataOptions(annotations=path))
    assert data.reference == str(path)


def test_result_files_alone_do_not_say_of_which_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--annotations, or the dataset with --dataset"):
        open_entrants([results(tmp_path / "a.json", COCO)], DataOptions())


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    options = DataOptions(annotations=write_truth(tmp_path / "val.json", COCO))
    files = [results(tmp_path / name / "results.json", COCO) for name in ("ours", "theirs")]
    _, entrants = open_entrants(files, options)
    assert [one.name for one in entrants] == ["ours/results", "theirs/results"]
    _, entrants = open_entrants(files, options, names=["a", "b"])
    assert [one.name for one in entrants] == ["a", "b"]


@pytest.mark.parametrize("names", [["a"], ["a", "a"]])
def test_names_have_to_tell_all_models_apart(tmp_path: Path, names: list[str]) -> None:
    options = DataOptions(annotations=write_truth(tmp_path / "val.json", COCO))
    files = [results(tmp_path / f"{name}.json", COCO) for name in ("one", "two")]
    with pytest.raises(UsageError, match="name"):
        open_entrants(files, options, names=names)


def run_folder(folder: Path, dataset: str, split: str) -> Path:
    results(folder / "predictions.json", COCO, images=1)
    (folder / "results.csv").write_text(f"dataset,split,metric,value\n{dataset},{split},AP,50\n")
    return folder


def test_runs_on_different_images_are_not_compared(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / split, "synthetic", split) for split in ("val", "val[:3]")]
    with pytest.raises(UsageError, match=r"synthetic val and synthetic val\[:3\]"):
        open_entrants(runs, DataOptions())


def test_runs_say_of_which_images_they_are(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", "synthetic", "val[:3]")
    data, [one] = open_entrants([run], DataOptions())
    assert (data.name, data.split, len(data)) == ("synthetic", "val[:3]", 3)
    assert one.facts["run"] == str(run)


def test_images_without_annotations_are_refused(tmp_path: Path) -> None:
    path = write_truth(tmp_path / "val.json", COCO)
    content = json.loads(path.read_text())
    content.pop("annotations")
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="not annotated"):
        open_entrants(
            [results(tmp_path / "a.json", COCO)],
            DataOptions(dataset="coco", split="test-dev", annotations=path),
        )


@pytest.mark.parametrize(
    ("name", "extra", "tool"),
    [
        ("predictions.json", {"bbox": [1.0, 2.0, 3.0, 4.0]}, "Ultralytics"),
        ("coco_instances_results.json", {"bbox": [1.0, 2.0, 3.0, 4.0]}, "Detectron2"),
        ("val.keypoints.json", {}, "MMPose"),
        ("result_keypoints.json", {"center": [1.0, 2.0], "scale": [1.0, 1.0]}, "MMPose"),
        ("predictions.json", {}, None),  # of posebench
        ("mine.json", {}, None),
    ],
)
def test_the_tool_that_wrote_a_file_is_named(
    tmp_path: Path, name: str, extra: dict[str, Any], tool: str | None
) -> None:
    path = results(tmp_path / name, COCO, **extra)
    writer = writer_of(path)
    assert (writer and writer.name) == tool
    options = DataOptions(annotations=write_truth(tmp_path / "gt.json", COCO))
    _, [one] = open_entrants([path], options)
    assert (tool or "") in one.note and bool(one.note) == (tool is not None)


@pytest.mark.parametrize("text", ["[]", "{}", "[1", "", '["a"]'])
def test_a_file_of_another_form_was_written_by_no_known_tool(tmp_path: Path, text: str) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(text)
    assert writer_of(path) is None
