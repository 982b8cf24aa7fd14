"""DGCN's module, graphs and pyramid; stored adjacency matrices are in tests/parity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from posebench.bench.flops import describe
from posebench.models import RECIPES
from posebench.models.dgcn.adjacency import limb_adjacency, soft_adjacency
from posebench.models.dgcn.model import DGCM, DGCN, GraphConvolution, NonLocal, Pyramid
from posebench.models.dgcn.recipes import ADJACENCIES, Adjacency, DGCNConfig
from posebench.models.pifpaf.model import PifPaf
from posebench.models.pifpaf.targets import field_layout
from posebench.skeleton import COCO, Skeleton
from posebench.structures import KeypointStatistics
from tests.builders import make_batch

TINY = DGCNConfig(backbone="resnet_tiny", width=32)


@pytest.mark.parametrize(
    ("name", "mebibytes", "printed"),
    [
        ("pifpaf_resnet50_coco", 96.0, 96),
        ("pifpaf_resnet101_coco", 168.4, 169),
        ("pifpaf_resnet152_coco", 228.1, 229),
        ("dgcn_resnet50_coco", 101.6, 102),
        ("dgcn_resnet101_coco", 174.1, 174),
        ("dgcn_resnet152_coco", 233.7, 234),
        ("dgcn_resnet50_2heads_coco", 125.8, 121),
        ("dgcn_resnet50_3heads_coco", 130.0, 127),
    ],
)
def test_parameters_lie_near_the_papers(name: str, mebibytes: float, printed: int) -> None:
    found = describe(RECIPES[name])["params_M"] * 4e6 / 2**20
    assert round(found, 1) == mebibytes
    assert abs(found - printed) < 5


def test_the_papers_baselines_have_a_spread_in_keypoint_fields() -> None:
    for depth, printed in ((50, 96), (101, 169), (152, 229)):
        found = describe(RECIPES[f"pifpaf_resnet{depth}_coco"])["params_M"] * 1e6
        spread = len(COCO) * 4 * (2048 + 1)  # one value more, four cells of it, weights and bias
        assert round((found + spread) * 4 / 2**20) == printed


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_heads_supervise_their_strides(heads: int, size: tuple[int, int]) -> None:
    model = DGCN(replace(TINY, heads=heads), COCO).eval()
    outputs = model(torch.zeros(1, 3, *size))
    strides = (4, 8, 16)[-heads:] * 2  # two modules make a head
    assert [tuple(logits.shape[2:]) for logits in outputs.intermediate] == [
        tuple((side - 1) // stride + 1 for side in size) for stride in strides
    ]
    assert outputs.keypoints.shape[2:] == (4, *((side - 1) // 8 + 1 for side in size))


def test_the_intermediate_term_shares_alpha_among_all_modules() -> None:
    batch = make_batch((2, 1), size=64)
    for heads in (1, 2):
        model = DGCN(replace(TINY, heads=heads), COCO)
        targets, outputs = model.targets(batch), model(batch.images)
        terms = model._terms(outputs, targets)
        logits = torch.zeros_like(outputs.intermediate[0])
        flat = replace(outputs, intermediate=tuple(map(torch.zeros_like, outputs.intermediate)))
        # log 2 in every cell of every map, and a mean over modules.
        expected = 30.0 * len(COCO) * math.log(2)
        assert model._terms(flat, targets)["intermediate"].item() == pytest.approx(expected)
        assert terms["intermediate"] > 0
        assert logits.shape == targets.intermediate[0].shape
        assert targets.intermediate[0].equal(targets.intermediate[heads])
        finest, own = targets.intermediate[0], targets.keypoints[:, :, 0]
        assert finest.equal(own) == (heads == 2)  # at stride 8 they are PifPaf's


def test_graph_convolution_of_hand_worked_maps() -> None:
    graph = GraphConvolution(3, learned=True)
    assert graph.relation is not None
    own = graph.relation.softmax(1)
    assert own.diagonal().tolist() == pytest.approx([0.5] * 3)  # half of itself at first
    assert graph.conv.bias is not None
    with torch.no_grad():
        graph.conv.weight.copy_(torch.eye(3)[..., None, None])
        graph.conv.bias.zero_()
        graph.relation.copy_(torch.tensor([[0.0, math.log(2), 0.0]] * 3))
    maps = torch.tensor([4.0, 8.0, -100.0]).view(1, 3, 1, 1)
    everything = graph(maps, torch.ones(3, 3)).flatten()
    # Each row shares itself out: a quarter, a half, a quarter; ReLU takes what is negative.
    assert everything.tolist() == pytest.approx([0.0, 0.0, 0.0])
    maps = maps.abs()
    assert graph(maps, torch.ones(3, 3)).flatten().tolist() == pytest.approx([28.0, 56.0, 28.0])
    # Without an edge a weight is e^0, not 0.
    none = graph(maps, torch.zeros(3, 3)).flatten()
    assert none.tolist() == pytest.approx([112 / 3] * 3)


def test_identity_has_no_learned_relation_and_leaves_keypoints_alone() -> None:
    model = DGCN(replace(TINY, adjacency="identity"), COCO)
    assert not any("relation" in name for name, _ in model.named_parameters())
    graph = GraphConvolution(2, learned=False)
    assert graph.conv.bias is not None
    with torch.no_grad():
        graph.conv.weight.copy_(torch.eye(2)[..., None, None])
        graph.conv.bias.zero_()
    maps = torch.rand(1, 2, 3, 3)
    torch.testing.assert_close(graph(maps, torch.eye(2)), maps)


def test_the_non_local_layer_starts_as_identity_and_looks_across_the_image() -> None:
    layer = NonLocal(8, pool=2)
    features = torch.randn(1, 8, 5, 7, requires_grad=True)
    assert layer(features).equal(features)
    torch.nn.init.normal_(layer.out.weight)
    layer(features)[0, :, 0, 0].sum().backward()
    assert features.grad is not None
    assert features.grad[0, :, 4, 6].abs().sum() + features.grad[0, :, 3, 5].abs().sum() > 0


def test_the_pyramid_sums_what_every_map_gives() -> None:
    pyramid = Pyramid([6, 8, 10], (4, 8, 16), 3, 16, learned=True).eval()
    maps = [torch.randn(1, c, s, s) for c, s in ((6, 17), (8, 9), (10, 5))]
    graphs = [torch.ones(3, 3)] * 3
    total, logits = pyramid(maps, graphs)
    assert total.shape == (1, 16, 5, 5)
    assert [tuple(one.shape[1:]) for one in logits] == [(3, 17, 17), (3, 9, 9), (3, 5, 5)]
    fine, middle, coarse = (
        module(own, graph)[0]
        for module, own, graph in zip(pyramid.modules_of_maps, maps, graphs, strict=True)
    )
    expected = coarse + pyramid.downsample(middle + pyramid.downsample(fine))
    torch.testing.assert_close(total, expected)


def test_a_module_hands_on_more_than_its_keypoints() -> None:
    module = DGCM(10, 3, 16, 1, learned=True).eval()
    torch.nn.init.zeros_(module.expand.weight)
    assert module.expand.bias is not None
    torch.nn.init.zeros_(module.expand.bias)
    features = torch.randn(1, 10, 4, 4)
    related, _ = module(features, torch.ones(3, 3))
    torch.testing.assert_close(related, module.squeeze(features))


# ----------------------------------------------------------------------------------------- graphs


@pytest.mark.parametrize("adjacency", ADJACENCIES)
def test_graphs_by_kind(adjacency: Adjacency) -> None:
    model = DGCN(replace(TINY, adjacency=adjacency, heads=2), COCO)
    ones = torch.ones(17, 17)
    assert len(model.train().graphs()) == 4
    tested = model.eval().graphs()[0]
    if adjacency == "dynamic":
        assert tested.equal(ones)
        assert not model.train().graphs()[0].equal(ones)
    else:
        assert all(graph.equal(tested) for graph in model.train().graphs())
        kinds = {"identity": torch.eye(17), "limbs": limb_adjacency(field_layout(COCO))}
        assert tested.equal(kinds.get(adjacency, model.adjacency))


def test_graphs_are_new_at_every_step_and_module_and_the_same_under_a_seed() -> None:
    def drawn(seed: int, steps: int) -> list[list[torch.Tensor]]:
        torch.manual_seed(seed)
        model = DGCN(TINY, COCO).train()
        return [model.graphs() for _ in range(steps)]

    first, again, other = drawn(0, 3), drawn(0, 3), drawn(1, 1)
    flat = [graph for graphs in first for graph in graphs]
    assert len({tuple(graph.flatten().tolist()) for graph in flat}) == 6
    assert all(
        a.equal(b)
        for one, two in zip(first, again, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    assert not first[0][0].equal(other[0][0])


def test_graphs_go_on_where_saved_weights_were() -> None:
    model = DGCN(TINY, COCO).train()
    model.graphs()
    torch.manual_seed(99)
    resumed = DGCN(TINY, COCO).train()
    resumed.load_state_dict(model.state_dict())
    assert resumed.graphs()[0].equal(model.graphs()[0])


def test_inference_draws_nothing() -> None:
    model = DGCN(TINY, COCO).eval()
    images = torch.randn(1, 3, 64, 64)
    first, again = model(images), model(images)
    assert first.keypoints.equal(again.keypoints)
    assert model.graphs_drawn == 0


@pytest.mark.parametrize("adjacency", ADJACENCIES)
def test_the_training_sets_distances_are_taken_over_where_they_count(adjacency: Adjacency) -> None:
    model = DGCN(replace(TINY, adjacency=adjacency), COCO)
    before = model.adjacency.clone()
    mean = np.random.default_rng(0).uniform(0.1, 1.0, (17, 17))
    asked = []

    def distances() -> KeypointStatistics:
        asked.append(True)
        return KeypointStatistics(mean, np.zeros((17, 2)), np.ones((17, 17), np.int64), 1)

    model.prepare(distances)
    if adjacency in ("soft", "dynamic"):
        assert model.adjacency.equal(soft_adjacency(mean, 0.5))
    else:
        assert not asked
        assert model.adjacency.equal(before)


def test_another_keypoint_sets_mean_pose_and_distances_are_taken_over() -> None:
    skeleton = Skeleton("bird", ("beak", "back", "tail"), ((0, 1), (1, 2)), (0.1,) * 3)
    model = DGCN(TINY, skeleton)
    even = 0.5 + 0.5 * torch.eye(3)
    assert model.adjacency.equal(even)
    pose = np.array([[-0.5, 0.5], [0.0, 0.0], [0.5, -0.5]])
    mean = np.array([[0, 0.5, 1.0], [0.5, 0, 0.5], [1.0, 0.5, 0]])
    model.prepare(lambda: KeypointStatistics(mean, pose, np.ones((3, 3), np.int64), 1))
    assert model.adjacency.equal(soft_adjacency(mean, 0.5))
    assert np.array_equal(model.current_layout().upright, pose)
    assert set(model.computed_tensors) <= set(model.state_dict())


def test_gamma_sharpens_the_graph() -> None:
    even, sharp = (DGCN(replace(TINY, adjacency="soft", gamma=g), COCO) for g in (0.01, 5.0))
    rest = 1 - torch.eye(17)
    assert (sharp.adjacency * rest).max() > 10 * (even.adjacency * rest).max()


def test_the_baseline_has_no_module() -> None:
    assert not any("pyramid" in name for name, _ in PifPaf(TINY, COCO).named_parameters())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"adjacency": "hard"}, "dynamic"),
        ({"heads": 4}, "1, 2 or 3"),
        ({"gamma": 0.0}, "above 0"),
        ({"width": 2}, "at least 4"),
        ({"backbone": "vgg"}, "resnext50"),
    ],
)
def test_a_config_outside_its_range_is_refused(changes: Mapping[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(TINY, **changes)
