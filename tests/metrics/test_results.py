from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posebench.errors import DataError, Notice
from posebench.files import write_json
from posebench.metrics import ResultFile, evaluate_keypoints, read_results
from posebench.metrics.results import parse_results
from posebench.skeleton import COCO
from tests.builders import PROTOCOLS, truth_of
from tests.metrics.cases import random_case

CONTENT: dict[str, Any] = {"images": [{"id": 8}, {"id": 3}], "annotations": []}
GROUND_TRUTH = truth_of(CONTENT)


def result(**fields: Any) -> dict[str, Any]:
    pose = [1.5, 2.5, 1.0] * 16 + [5.5, 4.5, 1.0]
    return {"image_id": 8, "category_id": 1, "keypoints": pose, "score": 0.5} | fields


def with_number(value: Any) -> list[Any]:
    return [1.5, value, *result()["keypoints"][2:]]


def test_written_results_score_to_the_last_digit(tmp_path: Path) -> None:
    content, results = random_case(COCO, seed=1)
    truth = truth_of(content)
    write_json(tmp_path / "deep" / "results.json", results)
    read = read_results(tmp_path / "deep" / "results.json", truth)
    assert list(ResultFile(tmp_path / "deep" / "results.json")) == results
    expected = evaluate_keypoints(truth, results, PROTOCOLS["coco"])
    assert evaluate_keypoints(truth, read, PROTOCOLS["coco"]) == expected


@pytest.mark.parametrize(
    "unusual",
    [
        {"image_id": 8.0},
        {"category_id": None},
        {"keypoints": [[1.5, 2.5, 1.0]] * 16 + [[5.5, 4.5, 1.0]]},
        {"bbox": []},
        {"bbox": [0, 0, 9, 5]},
        {"score": 1},
        {"category_id": 4, "score": None},
    ],
)
def test_entries_that_are_read_one_by_one_are_as_those_read_at_once(
    unusual: dict[str, Any], tmp_path: Path
) -> None:
    """Files as posebench writes them are read to arrays; the others through Python objects."""
    entries = [result(), result(score=0.25) | unusual]
    write_json(tmp_path / "results.json", entries)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        read = read_results(tmp_path / "results.json", GROUND_TRUTH)
        parsed = parse_results(entries, GROUND_TRUTH)
    for one, other in zip(vars(read).values(), vars(parsed).values(), strict=True):
        assert np.array_equal(one, other)


def test_writing_fails_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, [result()])
    with pytest.raises(DataError, match="finite"):
        write_json(path, [result(score=float("nan"))])
    assert json.loads(path.read_text()) == [result()]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("text", "'image_id' in every entry of the results, but entry 1"),
        ({"image_id": 8}, "'category_id' in every entry of the results, but entry 1"),
        (result(image_id=5), "entry 1 of the results is for image 5"),
        (result(image_id=[8]), r"entry 1 of the results is for image \[8\]"),
        (result(keypoints=[1.0] * 48), r"17 keypoints .* entry 1 \(image 8\).* found 16"),
        (result(keypoints=None), r"17 keypoints .* entry 1 \(image 8\).* found 0"),
        (result(keypoints=with_number(float("nan"))), r"entry 1 \(image 8\).* found nan"),
        (result(keypoints=with_number(float("-inf"))), r"entry 1 \(image 8\).* found -inf"),
        (result(keypoints=with_number("2.5")), r"entry 1 \(image 8\).* found '2.5'"),
        (result(keypoints=with_number(None)), r"entry 1 \(image 8\).* found None"),
        (result(keypoints=with_number([2.5])), r"entry 1 \(image 8\).* found \[2.5\]"),
        (result(score=float("nan")), r"score of entry 1 \(image 8\).* found nan"),
        (result(score=None), r"score of entry 1 \(image 8\).* found None"),
    ],
)
def test_wrong_entries_are_named(entry: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_results([result(), entry], GROUND_TRUTH)


def test_a_wrong_box_is_named_where_boxes_count() -> None:
    wrong = result(bbox=[0, 0, float("inf"), 5])
    with pytest.raises(DataError, match=r"bbox of entry 1 \(image 8\)"):
        parse_results([result(bbox=[0, 0, 2, 2]), wrong], GROUND_TRUTH)
    parse_results([result(), wrong], GROUND_TRUTH)


@pytest.mark.parametrize("content", [{"annotations": []}, "poses", None])
def test_files_that_hold_no_list_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"list of poses in .*results\.json"):
        read_results(path, GROUND_TRUTH)


def test_entries_become_arrays_in_the_order_of_image_ids() -> None:
    parsed = parse_results([result(), result(image_id=3)], GROUND_TRUTH)
    assert parsed.image.tolist() == [1, 0]
    assert parsed.keypoints.shape == (2, 17, 2)
    assert parsed.area.tolist() == [8.0, 8.0]  # extent 4 x 2


def test_boxes_count_only_when_the_first_entry_has_one() -> None:
    box = {"bbox": [0, 0, 10, 10]}
    assert parse_results([result(**box), result()], GROUND_TRUTH).area.tolist() == [100, 8]
    assert parse_results([result(), result(**box)], GROUND_TRUTH).area.tolist() == [8, 8]


def test_other_categories_are_left_out_and_counted() -> None:
    other = result(category_id=2, keypoints=[])
    with pytest.warns(Notice, match=r"1 of 2 entries .*category_id 2, not 1\) and left out"):
        assert len(parse_results([other, result()], GROUND_TRUTH).scores) == 1
    with pytest.raises(DataError, match="entry 1 "), pytest.warns(Notice):
        parse_results([other, result(score=None)], GROUND_TRUTH)


def test_results_that_are_all_of_another_category_are_refused() -> None:
    with pytest.raises(DataError, match=r"category_id 1 in the results.*2 entries have 0"):
        parse_results([result(category_id=0)] * 2, GROUND_TRUTH)
    # Models write people as 1 whatever the annotations call them; texts of digits are numbers.
    horses = truth_of({**CONTENT, "categories": [{"id": 7, "keypoints": [*COCO.keypoints]}]})
    for category in (1, 7, "7", 7.0):
        assert len(parse_results([result(category_id=category)], horses).scores) == 1
    with pytest.raises(DataError, match="category_id 7 "):
        parse_results([result(category_id=3)], horses)


@pytest.mark.parametrize(
    "name", ["8", 8.0, "00000008", "a/b.jpg", "a\\b.jpg", "b.jpg", "b", "/home/me/b.png"]
)
def test_an_image_is_found_by_its_digits_or_its_file_name(name: Any) -> None:
    images = [{"id": 8, "file_name": "a/b.jpg"}, {"id": 3, "file_name": "c.jpg"}]
    truth = truth_of({"images": images, "annotations": []})
    assert parse_results([result(image_id=name)], truth).image.tolist() == [1]


def test_a_file_name_of_two_images_names_neither() -> None:
    images = [{"id": 8, "file_name": "a/b.jpg"}, {"id": 3, "file_name": "c/b.jpg"}]
    truth = truth_of({"images": images, "annotations": []})
    with pytest.raises(DataError, match=r"neither an id nor a file name"):
        parse_results([result(image_id="b.jpg")], truth)


def test_text_ids_are_found_as_they_are() -> None:
    truth = truth_of({"images": [{"id": "z"}, {"id": "007"}], "annotations": []})
    found = parse_results([result(image_id="z"), result(image_id=7)], truth)
    assert found.image.tolist() == [1, 0]


def test_nested_keypoints_are_read() -> None:
    flat = result()["keypoints"]
    nested = [flat[k : k + 3] for k in range(0, 51, 3)]
    both = parse_results([result(), result(keypoints=nested, score=0.25)], GROUND_TRUTH)
    assert (both.keypoints[0] == both.keypoints[1]).all()


def test_copies_and_relative_coordinates_are_said() -> None:
    with pytest.warns(Notice, match="2 entries are exact copies"):
        parse_results([result()] * 3, GROUND_TRUTH, "a.json")
    relative = result(keypoints=[0.5, 0.25, 1.0] * 17)
    with pytest.warns(Notice, match="between 0 and 1"):
        parse_results([relative], GROUND_TRUTH, "a.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"meta_info": {}, "instance_info": []}, "MMPose demo"),
        ([{"frame_id": 0, "image_id": 8, "category_id": 1, "instances": []}], "MMPose demo"),
        ({"images": [], "annotations": []}, "looks like an annotation file"),
        ([{"keypoints": [1.0] * 51, "bbox": [0, 0, 1, 1], "score": 0.5}], r"openpifpaf\.predict"),
        ([{"image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}], "boxes only"),
        ([{"image_id": 8, "category_id": 1, "keypoints": [1.0] * 51}], "score of each person"),
        ([result(keypoints=[1.0, 2.0] * 17)], "34: 17 pairs x, y without the third"),
        ([result(keypoints=[1.0] * 54)], r"17 keypoints .* found 18"),
    ],
)
def test_forms_of_other_tools_are_named(content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_results(content, GROUND_TRUTH)
