"""That fused convolutions are the same function, and when they are not used.

Tolerances are relative to the largest value: float32 has 1.2e-7, and sums of a few hundred products
in another order differ by some of it; in a network of fifty layers that grows to less than 1e-5.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import find_model, inference_model
from posebench.layers import fused_conv
from posebench.layers.folding import folded
from posebench.layers.fused_conv import FusedConv, fused
from posebench.shipped import shipped_names

LAYER, NETWORK = 2e-6, 1e-5

pytestmark = pytest.mark.skipif(
    not fused_conv.available(), reason="this build of PyTorch has no oneDNN"
)


def difference(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def tensors_of(values: object) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values] if values.is_floating_point() else []
    parts = values if isinstance(values, list | tuple) else getattr(values, "__dict__", {}).values()
    return [tensor for part in parts for tensor in tensors_of(part)]


class Residual(nn.Module):
    """Two convolutions of an image, one read once, and one read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        once, twice = self.first(maps), self.second(maps)
        return self.act(once + twice) * twice


Residual.__module__ = "timm.somewhere"  # as what is traced


@pytest.mark.parametrize("name", shipped_names())
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_networks_have_equal_features_at_sizes_in_succession(
    name: str, layout: torch.memory_format
) -> None:
    model = find_model(name).model()
    plain = folded(model)
    fast = fused(folded(model).to(memory_format=layout))
    assert any(isinstance(layer, FusedConv) and layer.relu for layer in fast.modules())
    with torch.inference_mode():
        for size in ((1, 3, 64, 128), (2, 3, 96, 64), (1, 3, 64, 128)):
            images = torch.randn(size, generator=torch.Generator().manual_seed(0))
            expected = tensors_of(plain.features(images))
            found = tensors_of(fast.features(images.contiguous(memory_format=layout)))
            assert expected
            for own, other in zip(found, expected, strict=True):
                assert difference(own, other) < NETWORK


@pytest.mark.parametrize("name", shipped_names())
def test_people_are_equal(name: str) -> None:
    checkpoint = find_model(name)
    model, inference = checkpoint.model(), checkpoint.recipe.inference
    samples = [SyntheticCrowds(model.skeleton, "val", size=160).load(3)]
    [expected], [found] = (
        network.predict(samples, inference) for network in (folded(model), inference_model(model))
    )
    assert len(found.scores) == len(expected.scores) > 0
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.keypoints, expected.keypoints, rtol=0, atol=0.01)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv2d(3, 16, 3, 2, 1), (37, 53)),
        (nn.Conv2d(16, 24, 1, bias=False), (1, 7)),
        (nn.Conv2d(16, 8, 3, 1, 2, dilation=2), (19, 5)),
        (nn.Conv2d(16, 16, 5, 1, 2, groups=4), (13, 17)),
    ],
)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_layer_equals_the_usual_operators(
    layer: nn.Conv2d,
    size: tuple[int, int],
    relu: bool,
    layout: torch.memory_format,
    threads: int,
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            for batch in (1, 2):
                maps = torch.randn(batch, layer.in_channels, *size).to(memory_format=layout)
                convolved = layer(maps)
                residual = torch.randn_like(convolved)
                kept = residual.clone()
                own = FusedConv(deepcopy(layer), relu=relu)
                for added in (None, residual):
                    total = convolved if added is None else convolved + added
                    assert difference(own(maps, added), total.relu() if relu else total) < LAYER
                assert own.conv.weight.is_mkldnn
                assert residual.equal(kept)
    finally:
        torch.set_num_threads(before)


def test_each_shape_of_maps_has_the_weight_that_it_would_have_alone() -> None:
    # On processors with AVX-512 oneDNN arranges it differently for maps of 12 and of 8 columns.
    layer = nn.Conv2d(192, 192, 3, padding=1)
    shared = FusedConv(deepcopy(layer), relu=False)
    with torch.inference_mode():
        for size in ((4, 192, 8, 12), (4, 192, 8, 8), (2, 192, 8, 12), (4, 192, 8, 12)):
            maps = torch.randn(size).to(memory_format=torch.channels_last)
            alone = FusedConv(deepcopy(layer), relu=False)
            assert difference(shared(maps), alone(maps)) == 0
            own, other = (fused_conv._bytes(one.arranged[maps.shape]) for one in (shared, alone))
            assert own.equal(other)
    assert len(shared.arranged) == 3
    assert len({id(weight) for weight in shared.arranged.values()}) <= 2
    assert deepcopy(shared).conv.weight.equal(layer.weight)


def test_only_the_last_reader_of_a_convolution_is_fused() -> None:
    model = nn.Sequential(Residual())
    wrapped = nn.ModuleList([model])
    images = torch.randn(2, 3, 9, 11)
    expected = model(images)
    fast = fused(deepcopy(wrapped))
    found = {name: layer for name, layer in fast.named_modules() if isinstance(layer, FusedConv)}
    assert {name.split(".")[-1]: layer.relu for name, layer in found.items()} == {
        "first": True,
        "second": False,
    }
    with torch.inference_mode():
        assert difference(fast[0](images), expected) < LAYER


def test_a_convolution_that_is_called_twice_stays() -> None:
    layer = nn.Conv2d(4, 4, 1)
    model = nn.ModuleList([nn.Sequential(layer, nn.ReLU(), layer)])
    assert not any(isinstance(part, FusedConv) for part in fused(model).modules())


def small_network() -> nn.ModuleList:
    return nn.ModuleList([nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))])


def test_gradients_go_through_a_network_that_has_predicted() -> None:
    plain = small_network()
    fast = fused(deepcopy(plain))
    images = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        fast[0](images)
    gradients = []
    for network in (plain, fast):
        leaf = images.clone().requires_grad_()
        network[0](leaf).square().sum().backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    assert difference(gradients[1], gradients[0]) < LAYER


def test_copies_states_and_types_are_those_of_usual_convolutions() -> None:
    plain = small_network()
    fast = fused(deepcopy(plain))
    images = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        expected = fast[0](images)
        assert sum(p.numel() for p in fast.parameters()) == sum(
            p.numel() for p in plain.parameters()
        )
        assert deepcopy(fast)[0](images).equal(expected)
        assert fast[0](images).equal(expected)
        half = deepcopy(fast).to(torch.bfloat16)
        assert half[0](images.bfloat16()).dtype == torch.bfloat16
    states = zip(fast.state_dict().values(), plain.state_dict().values(), strict=True)
    assert all(own.equal(other) for own, other in states)


def test_an_exported_or_counted_network_has_usual_convolutions() -> None:
    fast = fused(small_network())[0]
    images = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        fast(images)
    with torch.no_grad():
        program = torch.export.export(deepcopy(fast), (images,))
        with FlopCounterMode(display=False) as counter:
            fast(images)
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called == ["aten.conv2d.default", "aten.relu.default", "aten.conv2d.default"]
    assert counter.get_total_flops() == 2 * 36 * (8 * 27 + 2 * 8)


def test_without_the_operators_a_network_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_conv, "_OPERATORS", ("_no_such_operator",))
    assert not any(isinstance(layer, FusedConv) for layer in fused(small_network()).modules())
