"""DEKR's network and its costs; the published numbers are in tests/parity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from posebench.bench.flops import count_recipe
from posebench.engine import inference_model
from posebench.models import RECIPES
from posebench.models.dekr.adaptive import AdaptiveBlock
from posebench.models.dekr.model import DEKR, mirrored_cells
from posebench.models.dekr.profile import PROFILE
from posebench.models.dekr.recipes import DEKRConfig
from posebench.skeleton import COCO
from posebench.structures import Inference, Resize
from tests.builders import make_sample

TINY = DEKRConfig(backbone="hrnet_tiny", channels=3)


def lively(config: DEKRConfig = TINY) -> DEKR:
    """Return a network whose random weights tell one cell from another."""
    torch.manual_seed(0)
    model = DEKR(config, COCO)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                gain = 0.3 if "matrix" in name or "shift" in name else 1.2
                parameter.normal_(std=gain / parameter[0].numel() ** 0.5)
    return model.double().eval()


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("dekr_hrnet_w32_coco", 29_561_182, 45.385),
        ("dekr_hrnet_w48_coco", 65_684_590, 141.527),
        ("dekr_hrnet_w32_crowdpose", 29_522_071, 44.749),
        ("dekr_hrnet_w48_crowdpose", 65_634_631, 140.256),
    ],
)
def test_costs_are_those_of_the_published_network(name: str, parameters: int, gmacs: float) -> None:
    """Multiply-adds of convolutions alone, of adaptive ones without the reading of their taps."""
    recipe = RECIPES[name]
    count = count_recipe(recipe, as_written=True)
    assert count.parameters == parameters
    macs = {operator.name: operator.macs for operator in count.operators}
    cells = (recipe.inference.resize.short_side // 4) ** 2
    assert recipe.skeleton is not None
    read = 2 * cells * 9 * len(recipe.skeleton) * 15 * 4  # two blocks; four cells for each sample
    products = macs["aten::convolution"] + macs["torchvision::deform_conv2d"] - read
    assert round(products / 1e9, 3) == gmacs


def test_the_heads_read_the_streams_like_their_joined_map() -> None:
    model = lively()
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    assert PROFILE.as_written is not None
    with torch.inference_mode():
        expected, found = PROFILE.as_written(model, images, None, None), model(images)
        *_, (_, staged) = PROFILE.stages(model, images, None, None)
    for name in ("heatmaps", "offsets"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
        torch.testing.assert_close(getattr(staged, name), getattr(found, name))


def test_a_folded_network_computes_the_same() -> None:
    model = lively().float()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    images = torch.randn(2, 3, 64, 96)
    fast = inference_model(model)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in fast.modules())
    with torch.inference_mode():
        expected, found = model(images), fast(images)
    for name in ("heatmaps", "offsets"):
        scale = float(getattr(expected, name).abs().max())
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=0, atol=1e-4 * scale
        )


def test_positions_are_float32_under_autocast() -> None:
    model = lively().float()
    maps: list[torch.Tensor] = []
    for block in model.offset_blocks:
        block.get_submodule("conv").register_forward_pre_hook(
            lambda m, given: maps.append(given[1])
        )
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        outputs = model(torch.randn(1, 3, 64, 64))
    assert {values.dtype for values in (outputs.offsets, *maps)} == {torch.float32}
    assert len(maps) == 2


def test_the_cells_of_the_mirror_image_lie_on_those_of_the_image() -> None:
    columns = torch.arange(16.0).expand(1, 3, 2, 16)
    mirrored = mirrored_cells(columns)[0, 0, 0]
    assert mirrored[::4].tolist() == [12, 8, 4, 0]
    assert mirrored[-3:].tolist() == [2, 1, 0]  # left as they were
    assert columns[0, 0, 0, 0] == 0  # the images themselves stay


def test_outputs_of_scales_lie_beside_each_other() -> None:
    model = lively()
    sizes: list[tuple[int, int]] = []
    hook = model.register_forward_pre_hook(lambda m, given: sizes.append(given[0].shape[2:]))
    inference = Inference(Resize(64, rounding="dekr"), flip=True, scales=(0.5, 1.0, 2.0))
    [people] = model.predict([make_sample(1, COCO, size=64)], inference)
    hook.remove()
    assert sizes == [(64, 64), (32, 32), (128, 128)]
    assert 0 < len(people) <= 30


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_any_number_of_blocks_can_be_built(blocks: int) -> None:
    model = DEKR(DEKRConfig(backbone="hrnet_tiny", channels=2, blocks=blocks), COCO)
    assert len(model.offset_blocks) == blocks
    outputs = model(torch.zeros(1, 3, 64, 64))
    assert outputs.offsets.shape == (1, 34, 16, 16)
    assert {name.split(".")[1] for name in model.keypoint_rows() if "blocks" in name} == {
        str(number) for number in range(blocks)
    }


@pytest.mark.parametrize(
    ("config", "matrix"),
    [(TINY, [0, 0, 0, 0]), (replace(TINY, initial_taps="grid"), [1, 0, 0, 1])],
)
def test_taps_lie_on_the_cell_or_on_a_grid_at_first(
    config: DEKRConfig, matrix: Sequence[float]
) -> None:
    block = DEKR(config, COCO).offset_blocks[0]
    assert isinstance(block, AdaptiveBlock)
    maps = block.maps(torch.randn(1, 17 * 3, 4, 4)).view(17, 6, 16)
    assert maps[:, :, 5].tolist() == [[*matrix, 0, 0]] * 17
