from __future__ import annotations

import pytest
import torch
from torch import nn

from posebench.errors import ModelError
from posebench.layers.backbones import HRNET_WIDTHS
from posebench.layers.backbones.hrnet import hrnet, joined, joined_at, joined_conv


def streams() -> list[torch.Tensor]:
    return [torch.randn(2, 3 * 2**i, 16 // 2**i, 24 // 2**i, dtype=torch.float64) for i in range(4)]


def test_convolution_of_the_joined_map_is_had_without_joining() -> None:
    maps = streams()
    layers = [nn.Conv2d(45, channels, 1).double() for channels in (5, 7)]
    for found, layer in zip(joined_conv(maps, layers), layers, strict=True):
        torch.testing.assert_close(found, layer(joined(maps)))


def test_cells_of_the_joined_map_are_had_without_joining() -> None:
    maps = streams()
    cells = torch.tensor([[0, 0, 0], [0, 15, 23], [1, 7, 8], [1, 0, 23], [1, 3, 3]])
    image, y, x = cells.unbind(1)
    torch.testing.assert_close(joined_at(maps, cells), joined(maps)[image, :, y, x])
    assert joined_at(maps, cells[:0]).shape == (0, 45)


@pytest.mark.parametrize("name", ["hrnet_tiny", "hrnet_w32"])
def test_trunk_yields_four_streams(name: str) -> None:
    with torch.device("meta"):
        maps = hrnet(name)(torch.zeros(2, 3, 64, 128))
    width = HRNET_WIDTHS[name]
    assert [tuple(m.shape) for m in maps] == [
        (2, width * 2**i, 16 // 2**i, 32 // 2**i) for i in range(4)
    ]


def test_weights_that_cannot_be_had_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> nn.Module:
        raise OSError("no network")

    monkeypatch.setattr("timm.create_model", no_network)
    with pytest.raises(ModelError, match="--no-pretrained"):
        hrnet("hrnet_w32", pretrained=True)
    with pytest.raises(ModelError, match="--no-pretrained"):
        hrnet("hrnet_tiny", pretrained=True)
