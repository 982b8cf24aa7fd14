"""What rows say of their origin: hashes that change with what they stand for, and with it alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posebench.data import open_dataset
from posebench.data.limited import FirstImages
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import data_hash, provenance_of
from posebench.engine.provenance import COLUMNS, PROTOCOL_VERSION, recipe_hash
from posebench.files import file_sha256
from posebench.models import RECIPES
from posebench.recipe import LATER_FIELDS, override
from posebench.skeleton import COCO, CROWDPOSE
from tests.builders import write_coco

CID = RECIPES["cid_tiny"]


def test_a_recipes_hash_changes_with_its_fields_alone() -> None:
    own = recipe_hash(CID, COCO)
    assert re.fullmatch("[0-9a-f]{16}", own)
    assert recipe_hash(override(CID, "lr=0.5"), COCO) != own
    assert recipe_hash(override(CID, "inference.flip=false"), COCO) != own
    assert recipe_hash(CID, CROWDPOSE) != own
    # What its authors report is no part of how it is trained and tested.
    assert recipe_hash(replace(CID, reported=(), default_for=("coco",)), COCO) == own


def test_fields_that_came_later_leave_older_hashes_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(LATER_FIELDS, "config.cell_centre", "never")
    with_field = recipe_hash(CID, COCO)
    monkeypatch.undo()
    assert LATER_FIELDS["config.cell_centre"] == CID.config.cell_centre  # type: ignore[attr-defined]
    assert recipe_hash(CID, COCO) != with_field
    assert recipe_hash(override(CID, "cell_centre=0.5"), COCO) != recipe_hash(CID, COCO)


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """Return the hash of the data after a change of their annotations."""
    [path] = folder.rglob("*keypoints*.json")
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return data_hash(open_dataset("coco", "val", root=folder))


@pytest.mark.parametrize("field", ["keypoints", "bbox", "area", "image"])
def test_the_datas_hash_changes_with_all_that_scores_depend_on(tmp_path: Path, field: str) -> None:
    def change(values: dict[str, Any]) -> None:
        person = values["annotations"][0]
        if field == "area":
            person["area"] *= 2
        elif field == "image":
            values["images"][0]["file_name"] = "another.png"
        else:
            person[field][0] += 1

    write_coco(tmp_path, (1, 2), "val")
    before = data_hash(open_dataset("coco", "val", root=tmp_path))
    assert changed(tmp_path, lambda values: None) == before
    assert changed(tmp_path, change) != before


def test_the_datas_hash_knows_part_of_a_split_rules_and_drawn_images(tmp_path: Path) -> None:
    write_coco(tmp_path, (1, 2), "val")
    whole = open_dataset("coco", "val", root=tmp_path)
    assert data_hash(FirstImages(whole, 1)) != data_hash(whole)
    hashed = data_hash(whole)
    whole.protocol = replace(whole.protocol, area_of_box=0.53)
    assert data_hash(whole) != hashed
    crowds = SyntheticCrowds(COCO, "val", length=3)
    assert data_hash(crowds) == data_hash(SyntheticCrowds(COCO, "val", length=3))
    assert data_hash(crowds) != data_hash(replace(crowds, seed=1))


def test_a_file_is_read_again_only_once_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = file_sha256(path)
    assert first == hashlib.sha256(b"one").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: pytest.fail("it was read again"))
        assert file_sha256(path) == first
    path.write_bytes(b"other")
    assert file_sha256(path) == hashlib.sha256(b"other").hexdigest()


def test_columns_name_the_seeds_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    crowds = SyntheticCrowds(COCO, "val", length=3, seed=7)
    found = provenance_of(
        recipe=CID, dataset=crowds, weights=tmp_path / "weights",
        seeds={"training": 5, "bootstrap": None},
    )  # fmt: skip
    assert tuple(found.columns()) == COLUMNS
    assert found.columns() == {
        "protocol_version": PROTOCOL_VERSION,
        "recipe_hash": recipe_hash(CID, COCO),
        "data_hash": data_hash(crowds),
        "weights_sha256": hashlib.sha256(b"one").hexdigest(),
        "seeds": "training 5, images 7",
    }
    assert provenance_of(weights=tmp_path / "nowhere").weights == ""


def test_every_version_of_the_protocol_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cards.md").read_text()
    table = page.partition("## Versions of the protocol")[2].partition("\n## ")[0]
    listed = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.M)]
    assert listed == list(range(1, PROTOCOL_VERSION + 1))
