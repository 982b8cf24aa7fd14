from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from posebench.data import open_dataset, statistics
from posebench.data.statistics import keypoint_statistics, measure_keypoints
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.files import cache_folder
from posebench.skeleton import COCO
from tests.builders import write_coco


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path / "cache"))


def forbid_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(statistics, "measure_keypoints", refuse)


def test_a_dataset_is_measured_once_and_the_file_says_of_what(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowds = SyntheticCrowds(COCO, "train", 3, size=64)
    first = keypoint_statistics(crowds)
    expected = measure_keypoints(crowds.ground_truth())
    np.testing.assert_array_equal(first.distances, expected.distances)
    [path] = (cache_folder() / "distances").iterdir()
    content = json.loads(path.read_text())
    assert content["dataset"] == "synthetic"
    assert content["split"] == "train"
    assert content["people"] == expected.people
    assert "length=3" in content["annotations"]
    forbid_measuring(monkeypatch)
    again = keypoint_statistics(SyntheticCrowds(COCO, "train", 3, size=64))
    np.testing.assert_array_equal(again.distances, expected.distances)
    np.testing.assert_array_equal(again.pose, expected.pose)
    np.testing.assert_array_equal(again.pairs, expected.pairs)
    assert again.people == expected.people


def test_other_annotations_are_measured_anew(tmp_path: Path) -> None:
    write_coco(tmp_path, people=(1, 2))
    one = keypoint_statistics(open_dataset("coco", "train", root=tmp_path))
    path = write_coco(tmp_path, people=(1, 2))
    content = json.loads(path.read_text())
    content["annotations"][0]["keypoints"][0] += 40.0
    path.write_text(json.dumps(content))
    other = keypoint_statistics(open_dataset("coco", "train", root=tmp_path))
    assert not np.array_equal(one.distances, other.distances)
    assert len(list((cache_folder() / "distances").iterdir())) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"people": 1}', "not json"])
def test_a_damaged_file_is_measured_again(content: str) -> None:
    crowds = SyntheticCrowds(COCO, "train", 2, size=64)
    expected = keypoint_statistics(crowds)
    [path] = (cache_folder() / "distances").iterdir()
    path.write_text(content)
    np.testing.assert_array_equal(keypoint_statistics(crowds).distances, expected.distances)
    assert json.loads(path.read_text())["people"] == expected.people


def test_a_file_of_a_version_without_the_mean_pose_is_measured_again() -> None:
    crowds = SyntheticCrowds(COCO, "train", 2, size=64)
    expected = keypoint_statistics(crowds)
    [path] = (cache_folder() / "distances").iterdir()
    content = json.loads(path.read_text())
    del content["mean_pose_over_root_of_box_area"]
    path.write_text(json.dumps(content))
    np.testing.assert_array_equal(keypoint_statistics(crowds).pose, expected.pose)
    assert "mean_pose_over_root_of_box_area" in json.loads(path.read_text())


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path / "file" / "below"))
    assert keypoint_statistics(SyntheticCrowds(COCO, "train", 2, size=64)).people > 0


def test_the_cache_is_in_the_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("POSEBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "posebench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "posebench"
