"""Recipes of a study."""

from __future__ import annotations

import pytest

from posebench.bench.ablation.config import base_recipe
from posebench.errors import UsageError
from posebench.models import STUDIES


def test_studies_of_recipes_are_for_their_own_dataset() -> None:
    with pytest.raises(UsageError, match="--dataset coco or --dataset synthetic"):
        base_recipe(STUDIES["group_pose/backbone"], "crowdpose")
    assert base_recipe(STUDIES["cid/embedding"], "crowdpose").name == "cid_hrnet_w32_crowdpose"
