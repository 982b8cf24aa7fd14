"""Counts of operations against those by hand, by hooks and by PyTorch's own counter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import DeformConv2d, RoIAlign, nms

from posebench.bench.flops.costs import meta_model
from posebench.bench.flops.counter import count_operations
from posebench.bench.flops.formulas import SOFTMAX
from posebench.models import RECIPES, profile_of
from posebench.skeleton import COCO
from tests.builders import make_batch

TINY = [name for name in RECIPES if name.endswith("_tiny")]
OTHER_BACKBONES = ["posedet_dla34_coco", "group_pose_swin_t_coco"]


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


@pytest.mark.parametrize(
    ("module", "inputs", "macs", "pointwise"),
    [
        # 8 outputs of 4 x 5, each the sum of 3 x 3 x 6 products.
        (nn.Conv2d(6, 8, 3), (_zeros(1, 6, 6, 7),), 8 * 20 * 54, 0),
        (nn.Conv2d(6, 8, 3, groups=2), (_zeros(1, 6, 6, 7),), 8 * 20 * 27, 0),
        (nn.Conv2d(6, 8, 3, stride=2), (_zeros(2, 6, 7, 7),), 2 * 8 * 9 * 54, 0),
        # Each of 7 x 7 inputs meets all sixteen weights of 8 kernels.
        (nn.ConvTranspose2d(6, 8, 4, 2, 1), (_zeros(1, 6, 7, 7),), 49 * 6 * 8 * 16, 0),
        (nn.Linear(10, 4), (_zeros(2, 3, 10),), 6 * 10 * 4, 0),
        (Call(torch.matmul), (_zeros(5, 2, 3), _zeros(5, 3, 4)), 5 * 2 * 3 * 4, 0),
        (Call(torch.baddbmm), (_zeros(5, 2, 4), _zeros(5, 2, 3), _zeros(5, 3, 4)), 120, 0),
        (nn.BatchNorm2d(6).eval(), (_zeros(1, 6, 4, 5),), 0, 2 * 120),
        (nn.LayerNorm(10), (_zeros(3, 10),), 0, 7 * 30),
        (nn.ReLU(), (_zeros(3, 10),), 0, 30),
        (nn.Sigmoid(), (_zeros(3, 10),), 0, 4 * 30),
        (nn.MaxPool2d(2), (_zeros(1, 3, 4, 4),), 0, 4 * 12),
        (nn.Upsample(scale_factor=2), (_zeros(1, 3, 4, 4),), 0, 0),
        (nn.UpsamplingBilinear2d(scale_factor=2), (_zeros(1, 3, 4, 4),), 4 * 192, 0),
        (Call(lambda x: x[:, 1:].T.reshape(-1).clone()), (_zeros(3, 10),), 0, 0),
        (Call(lambda x: (x + 1) * 2), (torch.zeros(5, dtype=torch.int64),), 0, 0),
        # Each of 3 x 5 points reads four cells of six maps.
        (Call(lambda x, g: F.grid_sample(x, g, align_corners=False)),
         (_zeros(1, 6, 4, 4), _zeros(1, 3, 5, 2)), 15 * 6 * 4, 0),
        (Call(lambda x, g: F.grid_sample(x, g, mode="nearest", align_corners=False)),
         (_zeros(1, 6, 4, 4), _zeros(1, 3, 5, 2)), 0, 0),
        # Bags of three rows of seven numbers.
        (Call(lambda i, t, w: F.embedding_bag(i, t, mode="sum", per_sample_weights=w)),
         (torch.zeros(2, 3, dtype=torch.int64), _zeros(9, 7), _zeros(2, 3)), 6 * 7, 0),
        # Scores and sums: 2 heads, 5 queries, 6 keys, 4 channels; a scale and a softmax.
        (Call(F.scaled_dot_product_attention),
         (_zeros(1, 2, 5, 4), _zeros(1, 2, 6, 4), _zeros(1, 2, 6, 4)),
         2 * 5 * 6 * (4 + 4), 60 * (1 + SOFTMAX)),
        # Two samples each way in a bin.
        (RoIAlign(3, 1.0, 2), (_zeros(1, 6, 8, 8), _zeros(2, 5)), 2 * 6 * 9 * 4 * 4, 0),
    ],
)  # fmt: skip
def test_a_layer_takes_what_its_definition_says(
    module: nn.Module, inputs: tuple[Tensor, ...], macs: int, pointwise: int
) -> None:
    found = count_operations(module, *inputs)
    assert (found.macs, found.flops) == (macs, 2 * macs + pointwise)
    assert found.uncounted == ()


def test_a_deformable_convolution_samples_and_sums() -> None:
    # torchvision's annotations know whole numbers only, its documentation and code pairs too.
    sides: dict[str, Any] = {"kernel_size": (1, 3), "padding": (0, 1)}
    module = DeformConv2d(6, 8, **sides)
    found = count_operations(module, _zeros(1, 6, 4, 5), _zeros(1, 6, 4, 5))
    # 20 cells, 3 taps: four corners of six maps each, and 6 x 8 products.
    assert found.macs == 20 * 3 * 6 * 4 + 20 * 3 * 6 * 8
    assert [cost.name for cost in found.operators] == ["torchvision::deform_conv2d"]


def test_regions_of_their_own_number_of_samples_are_counted_where_they_are_known() -> None:
    module = RoIAlign(2, 1.0, 0)
    regions = torch.tensor([[0.0, 0, 0, 6, 4]])  # bins of 3 x 2 samples
    assert count_operations(module, _zeros(1, 5, 8, 8), regions).macs == 4 * 6 * 5 * 4
    unknown = count_operations(module, _zeros(1, 5, 8, 8).to("meta"), regions.to("meta"))
    assert unknown.uncounted == (("torchvision::roi_align", 1),)


def test_the_fast_path_of_attention_takes_what_the_slow_one_does() -> None:
    attention = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    x = torch.randn(2, 5, 16)
    fast = count_operations(Call(lambda x: attention(x, x, x, need_weights=False)), x)
    assert [cost.name for cost in fast.operators] == ["aten::_native_multi_head_attention"]
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        slow = count_operations(Call(lambda x: attention(x, x, x, need_weights=False)), x)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    # Four projections of ten tokens; scores and sums of 2 x 4 heads.
    assert fast.macs == slow.macs == 4 * 10 * 16 * 16 + 2 * (2 * 4 * 5 * 5 * 4)


def test_what_is_not_counted_is_named_with_its_calls() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5]])

    def suppress(scores: Tensor) -> Tensor:
        return nms(boxes, scores, 0.5)[:1] + scores.topk(1).indices + scores.topk(2).indices[:1]

    found = count_operations(Call(suppress), torch.tensor([0.1, 0.2]))
    assert found.uncounted == (("aten::topk", 2), ("torchvision::nms", 1))


def test_the_tree_adds_up_and_lists_what_computes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 2, 1)))
    found = count_operations(model, _zeros(1, 3, 5, 5))
    assert found.tree.macs == found.macs == 25 * (12 + 8)
    lines = [(level, path, module.macs) for level, path, module in found.tree.walk(2)]
    assert lines == [(0, "", 500), (1, "0", 300), (1, "1", 0), (1, "2", 200), (2, "2.0", 200)]
    assert [path for _, path, _ in found.tree.walk(1)] == ["", "0", "1", "2"]
    assert found.parameters == found.tree.parameters == 16 + 10


def test_a_model_that_fails_is_left_without_hooks() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    with pytest.raises(RuntimeError):
        count_operations(model, _zeros(1, 5, 5, 5))
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks


# What PyTorch's counter has no formula for, and whose products it thus leaves out.
NOT_IN_TORCH = {
    "aten::grid_sampler_2d", "aten::_embedding_bag_forward_only", "aten::upsample_bilinear2d",
    "torchvision::deform_conv2d", "torchvision::roi_align",
}  # fmt: skip


@pytest.mark.parametrize("name", [*TINY, *OTHER_BACKBONES])
def test_products_are_those_of_pytorchs_counter(name: str) -> None:
    recipe = RECIPES[name]
    model = meta_model(recipe)
    people = torch.zeros(2, 3, dtype=torch.int64)
    images = torch.zeros(1, 3, 256, 256, device="meta")
    ours = count_operations(model, images, people=people)
    with FlopCounterMode(display=False) as theirs, torch.inference_mode():
        model(images, people=people)
    more = sum(cost.macs for cost in ours.operators if cost.name in NOT_IN_TORCH)
    assert 2 * (ours.macs - more) == theirs.get_total_flops()


def layers_by_hooks(model: nn.Module, *inputs: Any, **options: Any) -> dict[str, int]:
    """A second count: multiply-adds of layers, from their own numbers and their outputs' shapes."""
    counted: dict[str, int] = defaultdict(int)

    def count(path: str, layer: nn.Module, given: Tensor, made: Tensor) -> None:
        if isinstance(layer, nn.ConvTranspose2d):
            kernels = layer.out_channels // layer.groups * prod(layer.kernel_size)
            counted[path] += given.numel() * kernels
        elif isinstance(layer, nn.Conv2d):
            counted[path] += (
                made.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size)
            )
        else:
            assert isinstance(layer, nn.Linear)
            counted[path] += made.numel() * layer.in_features

    for path, layer in model.named_modules():
        if type(layer) in (nn.Conv2d, nn.ConvTranspose2d, nn.Linear):  # not those that sample
            layer.register_forward_hook(lambda m, i, o, path=path: count(path, m, i[0], o))
    with torch.inference_mode():
        model(*inputs, **options)
    return dict(counted)


# The modules that multiply and add outside of layers: products with weights that belong to a layer
# that is not called, attention, sampling and enlargement.
BESIDE_LAYERS = {
    "cid": {"CID", "Decoupling"},
    "dekr": {"DEKR", "Transition", "AdaptiveBlock", "AdaptiveConv"},
    "group_pose": {"SelfAttention", "DeformableAttention", "WindowAttention"},
    "higher_hrnet": set(),
    "posedet": {"PoseDet", "PoseEmbedding", "HRFPN"},
}


@pytest.mark.parametrize("name", [*TINY, *OTHER_BACKBONES])
def test_layers_take_what_a_second_count_by_hooks_says(name: str) -> None:
    recipe = RECIPES[name]
    images = torch.zeros(1, 3, 256, 256, device="meta")
    people = torch.zeros(2, 3, dtype=torch.int64)
    found = count_operations(meta_model(recipe), images, people=people)
    by_hooks = layers_by_hooks(meta_model(recipe), images, people=people)
    modules = {path: module for _, path, module in found.tree.walk(20)}
    assert {path: modules[path].macs for path in by_hooks} == by_hooks
    own = {
        path: module.macs - sum(child.macs for child in module.children)
        for path, module in modules.items()
        if path not in by_hooks
    }
    assert found.macs == sum(by_hooks.values()) + sum(own.values())
    classes = {modules[path].kind for path, macs in own.items() if macs}
    assert classes <= BESIDE_LAYERS.get(recipe.method, classes)


@pytest.mark.parametrize("name", TINY)
def test_on_a_cpu_the_count_is_that_of_the_meta_device(name: str) -> None:
    """Compiled loops give way to operations that can be counted."""
    recipe = RECIPES[name]
    batch = make_batch((2,))
    model = recipe.build(COCO).eval()
    people = profile_of(model.config).given_people(model, batch)
    real = count_operations(model, batch.images, people=people)
    meta = count_operations(meta_model(recipe), batch.images.to("meta"), people=people)
    assert real.macs == meta.macs
