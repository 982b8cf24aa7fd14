"""Annotation and result files changed at random: read, or refused in a sentence; no traceback."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posebench.data import open_dataset
from posebench.data.coco import LAYOUT
from posebench.data.doctor import examine
from posebench.engine import evaluate_file
from posebench.engine.evaluation import score
from posebench.errors import PosebenchError
from tests.builders import coco_annotations, make_sample

PEOPLE = coco_annotations(make_sample(2), first_id=1, image_id=1)
ANNOTATIONS: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "1.jpg", "width": 128, "height": 128},
        {"id": 2, "file_name": "2.jpg", "width": 128, "height": 128},
    ],
    "annotations": [
        PEOPLE[0],
        PEOPLE[1] | {"segmentation": [[1, 1, 9, 1, 9, 9]], "iscrowd": 1},
    ],
    "categories": [{"id": 1, "name": "person"}],
}
RESULTS: list[dict[str, Any]] = [
    {"image_id": 1, "category_id": 1, "keypoints": person["keypoints"], "score": 0.5}
    for person in PEOPLE
]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([0, 1, -1, 1e308, "1", "../../etc"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@st.composite
def changed(draw: st.DrawFn, original: Any) -> Any:
    """Return the original with a few of its parts replaced, removed or repeated."""
    content = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        content = _change(draw, content)
    return content


def _change(draw: st.DrawFn, content: Any) -> Any:
    parents: list[Any] = []
    _collect(content, parents)
    if not parents:
        return draw(values)
    parent = parents[draw(st.integers(0, len(parents) - 1))]
    keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    key = keys[draw(st.integers(0, len(keys) - 1))]
    how = draw(st.sampled_from(["replace", "remove", "repeat"]))
    if how == "replace":
        parent[key] = draw(values)
    elif how == "remove":
        del parent[key]
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    return content


def _collect(value: Any, parents: list[Any]) -> None:
    """List everything that has parts."""
    if isinstance(value, dict | list) and value:
        parents.append(value)
        for part in value.values() if isinstance(value, dict) else value:
            _collect(part, parents)


def survives(work: Callable[[Path], object], content: Any) -> None:
    """Run `work` on a file of the content: whatever is wrong with it is one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        path.write_text(json.dumps(content))
        try:
            work(path)
        except PosebenchError as error:
            assert str(error).strip()
            assert "\n" not in str(error)


fuzz = settings(
    max_examples=300, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@fuzz
@given(changed(ANNOTATIONS))
def test_annotations_are_read_or_refused(content: Any) -> None:
    def work(path: Path) -> None:
        dataset = open_dataset("coco", "val", annotations=path)
        for index in range(len(dataset)):
            dataset.load(index, pixels=False)
        dataset.labelled()
        score(RESULTS[:0], dataset)

    survives(work, content)


@fuzz
@given(changed(RESULTS))
def test_results_are_scored_or_refused(content: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder) / "truth.json"
        truth.write_text(json.dumps(ANNOTATIONS))
        dataset = open_dataset("coco", "val", annotations=truth)
        survives(lambda path: evaluate_file(path, dataset), content)


@fuzz
@given(changed(ANNOTATIONS))
def test_the_doctor_looks_at_anything(content: Any) -> None:
    def work(path: Path) -> None:
        place = path.parent / "annotations" / "person_keypoints_val2017.json"
        place.parent.mkdir()
        path.rename(place)
        examine(path.parent, LAYOUT)

    survives(work, content)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "3", '"x"', "{", '{"images": 3}', "[[[[", "NaN"]
)
def test_what_is_no_annotation_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(PosebenchError):
        open_dataset("coco", "val", annotations=path)


def test_json_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 200_000)
    with pytest.raises(PosebenchError):
        open_dataset("coco", "val", annotations=path)
