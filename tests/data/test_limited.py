"""The first images of a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

import posebench
from posebench.data import open_dataset
from posebench.data.limited import FirstImages
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.errors import UsageError
from posebench.skeleton import COCO

WHOLE = SyntheticCrowds(COCO, "val", length=8, size=64)


def test_they_are_as_if_there_were_no_others() -> None:
    first, short = FirstImages(WHOLE, 3), SyntheticCrowds(COCO, "val", length=3, size=64)
    assert len(first) == 3
    assert first.ground_truth().to_coco() == short.ground_truth().to_coco()
    assert first.labelled() == [0, 1, 2]
    assert (first.load(2).image == short.load(2).image).all()
    with pytest.raises(IndexError):
        first.load(3)


def test_the_split_says_that_it_is_not_whole() -> None:
    assert FirstImages(WHOLE, 3).split == "val[:3]"
    assert FirstImages(WHOLE, 8).split == "val"
    assert FirstImages(WHOLE, 80).split == "val"
    assert len(FirstImages(WHOLE, 80)) == 8


def test_other_limits_are_other_datasets() -> None:
    prints = {FirstImages(WHOLE, count).fingerprint() for count in (2, 3)}
    assert len(prints | {WHOLE.fingerprint()}) == 3


def test_files_are_limited_in_their_order() -> None:
    root = Path(__file__).parents[1] / "runs" / "data"
    whole = open_dataset("coco", "val", root=root)
    first = FirstImages(whole, 2)
    ids = [image["id"] for image in first.ground_truth().to_coco()["images"]]
    assert [first.load(i).image_id for i in range(2)] == ids
    assert [whole.load(i).image_id for i in range(2)] == ids
    assert {a["image_id"] for a in first.ground_truth().to_coco()["annotations"]} <= set(ids)


def test_none_is_too_few() -> None:
    with pytest.raises(UsageError, match="at least 1, not 0"):
        FirstImages(WHOLE, 0)


def test_the_python_api_limits_what_it_opens() -> None:
    assert len(posebench.open_dataset("synthetic", limit=5)) == 5
    ideal = posebench.evaluate("cid_tiny", "synthetic", oracle=True, limit=4)
    assert ideal.evaluation.images == 4
    assert set(ideal.rows["split"]) == {"val[:4]"}
