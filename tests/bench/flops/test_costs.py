"""Costs of recipes: as executed, folded and by the papers' equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from posebench.bench.flops.costs import audit, count_recipe, meta_model
from posebench.bench.flops.counter import count_call, count_operations
from posebench.layers.folding import folded
from posebench.models import RECIPES, profile_of
from posebench.models.cid import CID
from posebench.models.cid.profile import as_written as cid_as_written
from posebench.skeleton import COCO
from tests.builders import make_batch

TINY = [name for name in RECIPES if name.endswith("_tiny")]


@pytest.mark.parametrize("name", TINY)
def test_networks_as_written_return_what_they_return(name: str) -> None:
    batch = make_batch((2, 1))
    model = RECIPES[name].build(COCO).eval()
    profile = profile_of(model.config)
    people, as_written = profile.given_people(model, batch), profile.as_written
    with torch.inference_mode():
        ours = model(batch.images, people=people)
        written = (as_written or type(model).forward)(model, batch.images, None, people)
    for field, value in vars(ours).items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(getattr(written, field), value, rtol=1e-4, atol=1e-5)


def test_an_audit_counts_in_three_ways() -> None:
    recipe = RECIPES["cid_tiny"]
    found, count = audit(recipe, people=3), count_recipe(recipe, people=3)
    assert found.executed == count
    assert found.flops_folded < count.flops
    assert found.macs_as_written > count.macs
    written = count_recipe(recipe, people=3, as_written=True, model=meta_model(recipe))
    assert found.macs_as_written == written.macs
    plain = audit(RECIPES["mask_rcnn_tiny"], (64, 64))  # its paper's equations are its forward
    assert plain.macs_as_written == plain.executed.macs


def test_a_recipes_audit_is_of_its_own_size_and_people() -> None:
    one, two = (count_recipe(RECIPES["cid_tiny"], people=people) for people in (1, 2))
    assert two.macs > one.macs
    larger = count_recipe(RECIPES["cid_tiny"], (512, 256))
    assert larger.macs > 1.9 * one.macs
    assert count_call(nn.Identity(), lambda: None).macs == 0


def test_cid_by_its_equations_takes_what_the_joined_map_and_copies_for_everyone_do() -> None:
    """The difference between both counts, from the equations alone."""
    recipe = RECIPES["cid_hrnet_w32_coco"]
    cells, joined, width, keypoints = 128 * 128, 480, 32, 17
    model, images = meta_model(recipe), torch.zeros(1, 3, 512, 512, device="meta")
    assert isinstance(model, CID)

    def both(number: int) -> tuple[int, int]:
        people = torch.zeros(number, 3, dtype=torch.int64)
        written = count_call(model, lambda: cid_as_written(model, images, None, people))
        return count_operations(model, images, people=people).macs, written.macs

    (nobody, nobody_as_written), (two, two_as_written) = both(0), both(2)
    # Both 1 x 1 convolutions on the joined map, for 18 heatmaps and 32 embedding channels, against
    # each stream at its own size; enlarged are 480 - 32 channels, or what comes out of three.
    streams = sum(32 * 2**i * cells // 4**i for i in range(4))
    heads = keypoints + 1 + width
    plain = joined * cells * heads + 4 * (joined - 32) * cells
    ours = streams * heads + 3 * 4 * heads * cells
    assert nobody_as_written - nobody == plain - ours - width**2 * cells
    # A person: similarity, mask of three cues, fusion of two halves, heatmaps; two linear layers.
    person = cells * (width + 3 * 25 + 2 * width**2 + width * keypoints) + 2 * joined * width
    assert two_as_written - nobody_as_written == 2 * person
    # Executed: one half of the fusion is shared by all.
    assert two - nobody == 2 * (person - cells * width**2)


def test_folding_leaves_products_and_takes_norms_away() -> None:
    recipe = RECIPES["higher_hrnet_tiny"]
    model = meta_model(recipe)
    images = torch.zeros(1, 3, 128, 128, device="meta")
    whole, without = count_operations(model, images), count_operations(folded(model), images)
    assert without.macs == whole.macs
    norms = [cost.flops for cost in whole.operators if cost.name == "aten::native_batch_norm"]
    left = [cost.flops for cost in without.operators if cost.name == "aten::native_batch_norm"]
    assert whole.flops - without.flops == sum(norms) - sum(left) > 0
