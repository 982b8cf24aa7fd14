from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posebench.errors import DataError
from posebench.files import write_json
from posebench.metrics import evaluate_keypoints, read_results
from posebench.metrics.results import parse_results
from posebench.skeleton import COCO
from tests.builders import PROTOCOLS, truth_of
from tests.metrics.cases import random_case

GROUND_TRUTH = truth_of({"images": [{"id": 8}, {"id": 3}], "annotations": []})


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
    assert read == results
    expected = evaluate_keypoints(truth, results, PROTOCOLS["coco"])
    assert evaluate_keypoints(truth, read, PROTOCOLS["coco"]) == expected


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


def test_other_categories_are_left_out_and_errors_still_count_them() -> None:
    other = result(category_id=2, keypoints=[])
    assert len(parse_results([other, result()], GROUND_TRUTH).scores) == 1
    with pytest.raises(DataError, match="entry 1 "):
        parse_results([other, result(score=None)], GROUND_TRUTH)
