"""The adaptive convolution: where its taps lie, and that its three forms agree."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from posebench.layers.portable import portable_operators
from posebench.layers.sampling import torch_operations_only
from posebench.models.dekr.adaptive import AdaptiveBlock, AdaptiveConv, sampling_offsets

G, C = 3, 5  # keypoints, channels of each
SIZE = (6, 9)


def conv() -> AdaptiveConv:
    torch.manual_seed(0)
    return AdaptiveConv(G * C, G * C, 3, padding=1, groups=G, bias=False)


def maps_of(matrix: tuple[float, ...], shift: tuple[float, ...]) -> Tensor:
    """Return the same map at every cell, for every keypoint."""
    numbers = torch.tensor([*matrix, *shift])
    return numbers.repeat(G)[None, :, None, None].expand(1, -1, *SIZE)


@pytest.mark.parametrize("recorded", [False, True])
def test_taps_lie_where_the_map_puts_them(recorded: bool) -> None:
    layer = conv()
    features = torch.randn(1, G * C, *SIZE)
    regular = F.conv2d(features, layer.weight, padding=1, groups=G)
    with torch.inference_mode(not recorded):
        identity = layer(features, maps_of((1, 0, 0, 1), (0, 0)))
        down = layer(features, maps_of((1, 0, 0, 1), (1, 0)))  # y is before x
        turned = layer(features, maps_of((0, 1, 1, 0), (0, 0)))  # y and x of the taps exchanged
        at_once = layer(features, maps_of((0, 0, 0, 0), (0, 0)))  # as at the start
    torch.testing.assert_close(identity, regular)
    # The row below; the last row reads one more row of zeros.
    torch.testing.assert_close(down[:, :, :-1], regular[:, :, 1:])
    kernel = layer.weight.mT
    torch.testing.assert_close(turned, F.conv2d(features, kernel, padding=1, groups=G))
    point = layer.weight.sum((2, 3), keepdim=True)
    torch.testing.assert_close(at_once, F.conv2d(features, point, groups=G))


def test_sampling_offsets_are_from_a_regular_convolutions_taps() -> None:
    offsets = sampling_offsets(maps_of((2, 0, 0, 1), (0.5, -3)), G)
    assert offsets.shape == (1, G * 18, *SIZE)
    # y of the taps is doubled: the first row lies one cell higher, the last one lower.
    own = offsets[0, 18:36, 2, 3].view(9, 2)
    assert own[:, 0].tolist() == [-0.5] * 3 + [0.5] * 3 + [1.5] * 3
    assert own[:, 1].tolist() == [-3.0] * 9


def test_all_forms_agree_in_values_and_gradients() -> None:
    torch.manual_seed(0)
    block = AdaptiveBlock(G, C).eval()
    features = torch.randn(2, G * C, *SIZE)
    results = []
    for form in (torch_operations_only, portable_operators):
        with form(), torch.inference_mode():
            results.append(block(features))
    with torch.inference_mode():
        results.append(block(features))
    inputs = features.clone().requires_grad_()
    results.append(block(inputs))
    for found in results[1:]:
        torch.testing.assert_close(found, results[0], rtol=1e-5, atol=1e-5)

    cotangent = torch.randn_like(features)
    gradients = []
    for double in (False, True):
        own = AdaptiveBlock(G, C).eval()
        own.load_state_dict(block.state_dict())
        own, inputs = (own.double(), features.double()) if double else (own, features.clone())
        (own(inputs.requires_grad_()) * cotangent).sum().backward()
        values = {name: value.grad for name, value in own.named_parameters()}
        gradients.append({**values, "features": inputs.grad})
    for name, expected in gradients[1].items():  # torchvision's, which alone has float64
        found = gradients[0][name]
        assert found is not None
        assert expected is not None
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5 * scale)


def test_each_keypoint_has_layers_of_its_own() -> None:
    block = AdaptiveBlock(G, C).eval()
    features = torch.randn(1, G * C, *SIZE)
    changed = features.clone()
    changed[:, C : 2 * C] += 1
    with torch.inference_mode():
        same = (block(features) == block(changed)).all((0, 2, 3)).view(G, C)
    assert same.all(1).tolist() == [True, False, True]
