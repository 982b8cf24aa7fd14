"""The registry of published checkpoints."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from posebench.data import LAYOUTS
from posebench.errors import DataError, ModelError, UsageError
from posebench.models import RECIPES
from posebench.models.cid.model import CID
from posebench.models.higher_hrnet.model import HigherHRNet
from posebench.published import (
    DIFFERENCES,
    Published,
    choose_published,
    find_published,
    published_for,
    registry,
)
from posebench.recipe import with_settings

FORMATS = {"the authors", "torchvision"} | {
    release.source for model in (CID, HigherHRNet) for release in model.other_releases
}


@pytest.mark.parametrize("entry", registry().values(), ids=lambda entry: entry.name)
def test_an_entry_is_of_a_recipe_and_says_where_it_was_read(entry: Published) -> None:
    recipe = RECIPES[entry.recipe]
    assert with_settings(recipe, entry.settings).name == recipe.name
    assert entry.format in FORMATS
    assert entry.differs in ("", *DIFFERENCES)
    assert entry.split in LAYOUTS[entry.dataset].splits
    assert recipe.skeleton == LAYOUTS[entry.dataset].skeleton
    assert 0 < entry.ap < (entry.ap_scales or 100) <= 100
    assert entry.url or entry.page
    assert entry.licence and entry.read_at
    if entry.url:
        assert entry.url.startswith("https://")
        assert entry.sha256 in PurePosixPath(entry.url).name
        assert entry.sha256 or entry.bytes  # something is known by which to check it


def test_a_recipes_name_stands_for_its_first_checkpoint_that_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    by_recipe, by_name = (
        find_published(name) for name in ("cid_hrnet_w32_coco", "cid_hrnet_w32_coco@mmpose0")
    )
    assert by_recipe == by_name is not None
    assert find_published("dgcn_resnet50_coco") is None
    assert find_published("cid_hrnet_w32_crowdpose") is None  # by hand
    (entry,) = published_for("cid_hrnet_w32_crowdpose")
    assert str(entry.path) in entry.by_hand()
    entry.path.parent.mkdir(parents=True)
    entry.path.touch()
    assert find_published("cid_hrnet_w32_crowdpose") == entry
    with pytest.raises(ModelError, match="Did you mean cid_hrnet_w32_coco@mmpose"):
        find_published("cid_hrnet_w32_coco@mmpose2")


def test_no_two_files_have_the_same_place() -> None:
    paths = [entry.path for entry in registry().values()]
    assert len(set(paths)) == len(paths)


def test_a_damaged_registry_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "published.toml"
    damaged.write_text('[[checkpoint]]\nname = "x@y"\nsorce = "z"\n')
    monkeypatch.setattr("posebench.published.REGISTRY", damaged)
    registry.cache_clear()
    try:
        with pytest.raises(DataError, match="'source' in checkpoint 0"):
            registry()
    finally:
        registry.cache_clear()


def test_a_pattern_that_matches_nothing_is_told() -> None:
    assert len(choose_published([])) == len(registry())
    assert {entry.recipe for entry in choose_published(["mask_rcnn*"])} == {
        "mask_rcnn_resnet50_coco"
    }
    with pytest.raises(UsageError, match=r"No published checkpoint matches 'zebra': .* them\.$"):
        choose_published(["zebra"])
    with pytest.raises(UsageError, match=r"Did you mean cid_hrnet_w32_coco\?"):
        choose_published(["cid_hrnet_w32_coc"])
