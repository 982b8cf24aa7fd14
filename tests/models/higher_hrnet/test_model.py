"""HigherHRNet's network and its costs; the published numbers are in tests/parity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from posebench.bench.flops import describe
from posebench.models import RECIPES
from posebench.models.higher_hrnet.model import HigherHRNet
from posebench.models.higher_hrnet.profile import PROFILE
from posebench.models.higher_hrnet.recipes import HigherHRNetConfig
from posebench.skeleton import COCO
from posebench.structures import Inference, Resize
from tests.builders import make_sample

TINY = HigherHRNetConfig(backbone="hrnet_tiny", blocks=1)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("higher_hrnet_w32_coco", 28.6),
        ("higher_hrnet_w40_640_coco", 44.5),
        ("higher_hrnet_w48_640_coco", 63.8),
        ("higher_hrnet_baseline_w32_coco", 28.5),
    ],
)
def test_parameters_equal_the_papers_to_the_printed_digit(name: str, params: float) -> None:
    assert round(describe(RECIPES[name])["params_M"], 1) == params


@pytest.mark.parametrize(
    ("name", "counted", "printed"),
    [
        ("higher_hrnet_w32_coco", 46.2, 47.9),
        ("higher_hrnet_w40_640_coco", 107.1, 110.7),
        ("higher_hrnet_w48_640_coco", 149.5, 154.3),
    ],
)
def test_the_papers_charge_transposed_convolutions_at_their_output(
    name: str, counted: float, printed: float
) -> None:
    recipe = RECIPES[name]
    described = describe(recipe)
    assert round(described["gmacs"], 1) == counted
    # The last heatmaps are at stride 2; a kernel of 4 x 4 with stride 2 meets each output pixel
    # with four of its sixteen weights, but all sixteen are charged.
    pixels = (described["input_size"] // 2) ** 2
    with torch.device("meta"):
        model = recipe.build(COCO)
    enlarge = model.get_submodule("deconvolutions.0.0.0")
    assert isinstance(enlarge, nn.ConvTranspose2d)
    uncounted = 12 * enlarge.in_channels * enlarge.out_channels * pixels / 1e9
    assert round(described["gmacs"] + uncounted, 1) == printed


def test_the_baselines_printed_multiply_adds_lack_the_fuse_layers_strided_convolutions() -> None:
    recipe = RECIPES["higher_hrnet_baseline_w32_coco"]
    counted = []

    def count(layer: nn.Conv2d, _: object, maps: Tensor) -> None:
        counted.append(layer.weight.numel() * maps[0, 0].numel())

    with torch.device("meta"), torch.no_grad():
        model = recipe.build(COCO)
        for name, layer in model.named_modules():
            if "fuse_layers" in name and isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                layer.register_forward_hook(count)
        model(torch.zeros(1, 3, 512, 512))
    gmacs = describe(recipe)["gmacs"]
    assert round(gmacs, 1) == 40.8
    assert round(gmacs - sum(counted) / 1e9, 1) == 38.9


@pytest.mark.parametrize("deconvolutions", [0, 1, 2])
@pytest.mark.parametrize("concatenate", [False, True])
def test_heatmaps_have_the_strides_of_their_modules(deconvolutions: int, concatenate: bool) -> None:
    config = replace(TINY, deconvolutions=deconvolutions, concatenate=concatenate)
    model = HigherHRNet(config, COCO).eval()
    outputs = model(torch.zeros(1, 3, 64, 96))
    assert model.strides == (4, 2, 1)[: deconvolutions + 1]
    sizes = [tuple(maps.shape[1:]) for maps in outputs.heatmaps]
    assert sizes == [(17, 64 // s, 96 // s) for s in model.strides]
    assert outputs.tags.shape == (1, 17, 1, 16, 24)
    assert outputs.size == (64, 96)


def test_blocks_and_concatenation_change_the_network() -> None:
    def count(config: HigherHRNetConfig) -> int:
        return sum(p.numel() for p in HigherHRNet(config, COCO).parameters())

    block = 2 * 24 * 24 * 9 + 4 * 24
    assert count(replace(TINY, blocks=2)) - count(TINY) == block
    assert count(TINY) - count(replace(TINY, concatenate=False)) == 34 * 24 * 16


def test_aggregation_may_be_off() -> None:
    model, alone = (HigherHRNet(replace(TINY, aggregate=a), COCO).eval() for a in (True, False))
    outputs = model(torch.randn(1, 3, 64, 64))
    assert alone.aggregated(outputs) is outputs.heatmaps[-1]
    assert not model.aggregated(outputs).equal(outputs.heatmaps[-1])


def test_scales_are_merged_with_the_tags_of_the_first() -> None:
    model = HigherHRNet(TINY, COCO).double().eval()
    sample = make_sample(2)
    once, thrice = (
        PROFILE.explain(model, sample, Inference(Resize(128), flip=True, scales=scales))[0]
        for scales in ((1.0,), (0.5, 1.0, 2.0))
    )
    assert once.keypoints.shape[1:] == thrice.keypoints.shape[1:] == (17, 2)
