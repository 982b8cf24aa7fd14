"""ResNet backbones, whose batch norms, stem and first stage can be frozen."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from posebench.layers.backbones import RESNET_WEIGHTS
from posebench.layers.backbones.pretrained import timm_backbone


class ResNetBackbone(nn.Module):
    """A ResNet that maps (B, 3, H, W) to maps (B, C, h, w) of strides 8, 16 and 32."""

    def __init__(
        self, name: str, *, frozen: bool, finest: bool = False, pretrained: bool = False
    ) -> None:
        """Build the network.

        Args:
            name: a key of `RESNET_WEIGHTS`.
            frozen: do not train the batch norms' statistics and scales, the stem and the first
                stage. Must be off for random weights, which need batch norms that are trained.
            finest: return the map of stride 4 too, before the others.
            pretrained: start from ImageNet weights.

        Raises:
            ModelError: the ImageNet weights do not exist or cannot be downloaded.
        """
        super().__init__()
        options: dict[str, Any] = {"out_indices": (1, 2, 3, 4) if finest else (2, 3, 4)}
        if frozen:
            options |= {"norm_layer": _FrozenNorm, "zero_init_last": False}
        self.body = timm_backbone(RESNET_WEIGHTS[name], pretrained=pretrained, **options)
        if frozen:
            for part in ("conv1", "layer1"):
                self.body.get_submodule(part).requires_grad_(False)

    @property
    def channels(self) -> list[int]:
        """Channels of each map, the finest first."""
        channels: list[int] = self.body.feature_info.channels()  # type: ignore[operator, union-attr]
        return channels

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.body(images)
        return maps


class _FrozenNorm(FrozenBatchNorm2d):
    """torchvision's frozen batch norm with the `device` and `dtype` arguments that timm passes."""

    def __init__(self, channels: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__(channels)
        self.to(device=device, dtype=dtype)
