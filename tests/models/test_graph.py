"""Networks as graphs: the operators that are exported give what PyTorch's fastest ones do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import find_model
from posebench.exporting.program import GraphModule
from posebench.layers.backbones.swin import _portable_shift_mask, _shift_mask
from posebench.layers.portable import portable_operators
from posebench.layers.sampling import gathered_samples, grid_samples
from posebench.models import PoseModel, profile_of
from posebench.models.cid.decoding import CIDOutputs, find_centres
from posebench.models.cid.model import CID
from posebench.models.graph import Graph
from posebench.shipped import shipped_names
from posebench.structures import Sample

FAMILIES = sorted(shipped_names())


def images_of(count: int = 2, size: tuple[int, int] = (128, 192)) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FAMILIES)
def test_exported_operators_compute_what_the_network_does(name: str) -> None:
    model = find_model(name).model()
    module = GraphModule(model, flip=True)
    with torch.inference_mode():
        expected = module(images_of())
        with portable_operators():
            found = module(images_of())
    assert list(found) == list(expected)
    for output, values in expected.items():
        torch.testing.assert_close(found[output], values, rtol=1e-4, atol=2e-5, msg=output)
        assert len(values) == 2  # the first dimension numbers the images


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_come_back_from_named_tensors(name: str) -> None:
    """A network without its layers decodes the same people as with them."""
    checkpoint = find_model(name)
    inference = replace(checkpoint.recipe.inference, flip=False)
    model = checkpoint.model()
    image = synthetic_sample(model)
    expected = model.predict([image], inference)[0]
    graph: Graph[PoseModel] = profile_of(model.config).graph

    def runtime(model: Any, images: Tensor, padding: Tensor | None) -> Any:
        with torch.inference_mode():
            named = GraphModule(other, flip=False)(images, padding)
        return graph.restored(model, named, (images.shape[-2], images.shape[-1]))

    other = checkpoint.model()
    model.runtime = runtime
    found = model.predict([image], inference)[0]
    assert len(expected) > 0
    torch.testing.assert_close(found.keypoints, expected.keypoints, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-5)


def test_a_method_that_says_nothing_returns_all_tensors_of_its_outputs() -> None:
    model = find_model("higher_hrnet_tiny").model()
    graph: Graph[PoseModel] = Graph()
    with torch.inference_mode():
        expected = model(images_of())
        named = graph.outputs(model, images_of(), None, False)
    assert list(named) == ["heatmaps_0", "heatmaps_1", "tags"]
    with torch.device("meta"):
        blank = find_model("higher_hrnet_tiny").recipe.build(model.skeleton).eval()
    restored = graph.restored(blank, named, (128, 192))
    assert torch.equal(restored.heatmaps[1], expected.heatmaps[1])
    assert torch.equal(restored.tags, expected.tags)
    assert restored.size == (128, 192)


def test_a_network_without_weights_is_moved_nowhere() -> None:
    with torch.device("meta"):
        model = find_model("pifpaf_tiny").recipe.build(find_model("pifpaf_tiny").skeleton)
    model.runtime = lambda own, images, padding: None
    assert model.to(torch.device("cpu")) is model
    assert model.device == torch.device("cpu")


def synthetic_sample(model: PoseModel) -> Sample:
    return SyntheticCrowds(model.skeleton, "val", size=256).load(0)


@pytest.mark.parametrize("size", [(128, 192), (96, 96)])
def test_slots_of_cid_are_the_people_of_the_dynamic_form(size: tuple[int, int]) -> None:
    model = find_model("cid_tiny").model()
    assert isinstance(model, CID)
    # Lower logits everywhere and a few peaks: fewer people than slots, and other numbers in each.
    images = images_of(3, size)
    graph = profile_of(model.config).graph
    with torch.inference_mode():
        dynamic: CIDOutputs = model(images)
        named = graph.outputs(model, images, None, False)
        slots = graph.restored(model, named, size)
    assert 0 < len(dynamic.people) < 90
    assert named["centre_scores"].shape == (3, 30)
    assert torch.equal(slots.people, dynamic.people)
    assert torch.equal(slots.centre_scores, dynamic.centre_scores)
    torch.testing.assert_close(
        slots.instance_heatmaps, dynamic.instance_heatmaps, rtol=1e-5, atol=1e-6
    )


def test_a_map_without_people_has_empty_slots() -> None:
    model = find_model("cid_tiny").model()
    assert isinstance(model, CID)
    assert model.keypoint_head.bias is not None
    with torch.no_grad():
        model.keypoint_head.bias.fill_(-100.0)
    graph = profile_of(model.config).graph
    with torch.inference_mode():
        named = graph.outputs(model, images_of(1), None, False)
    assert not named["centre_scores"].any()
    assert len(graph.restored(model, named, (128, 192)).people) == 0


@pytest.mark.parametrize("side", [40, 120, 250, 350])
def test_slots_choose_the_window_that_suits_the_map(side: int) -> None:
    """Maps of a mean side up to 200 cells, up to 300 and above have other windows of a peak."""
    from posebench.models.cid.decoding import centre_slots

    generator = torch.Generator().manual_seed(side)
    centres = torch.rand(1, side, side + 8, generator=generator)
    people, scores = find_centres(centres, 3)
    slots, slot_scores = centre_slots(centres, 3)
    assert torch.equal(slots[slot_scores[0] > 0], people)
    assert torch.equal(slot_scores[slot_scores > 0], scores)


def test_sampling_level_by_level_is_sampling_by_gathering() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = [(6, 9), (3, 5)]
    tokens = sum(height * width for height, width in sizes)
    values = torch.randn(2, tokens, 4, 8, generator=generator)
    references = torch.rand(2, 7, 2, 2, generator=generator) * 1.2 - 0.1  # some beyond the border
    offsets = 3 * torch.randn(2, 7, 4, 2, 3, 2, generator=generator)
    weights = torch.rand(2, 7, 4, 2, 3, generator=generator)
    torch.testing.assert_close(
        grid_samples(values, sizes, references, offsets, weights),
        gathered_samples(values, sizes, references, offsets, weights),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(14, 21), (7, 7), (28, 14)])
def test_the_shifted_windows_of_swin_have_one_mask(size: tuple[int, int]) -> None:
    arguments = (size, (7, 7), (3, 3), torch.device("cpu"), torch.float32)
    assert torch.equal(_portable_shift_mask(*arguments), _shift_mask(*arguments))
