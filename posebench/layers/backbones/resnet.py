"""ResNet trunks whose batch norms, stem and first stage stay as ImageNet left them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from posebench.layers.backbones import RESNET_WEIGHTS
from posebench.layers.backbones.pretrained import timm_backbone


class ResNetBackbone(nn.Module):
    """Maps (B, 3, H, W) to the maps (B, C, h, w) of strides 8, 16 and 32."""

    def __init__(self, name: str, *, frozen: bool, pretrained: bool = False) -> None:
        """Make a trunk.

        Args:
            frozen: batch norms keep their statistics and scales, and the stem and the first stage
                their weights. Random weights need it off: nothing else normalises them.

        Raises:
            ModelError: ImageNet weights are wanted and cannot be had.
        """
        super().__init__()
        options: dict[str, Any] = {"out_indices": (2, 3, 4)}
        if frozen:
            options |= {"norm_layer": _FrozenNorm, "zero_init_last": False}
        self.body = timm_backbone(RESNET_WEIGHTS[name], pretrained=pretrained, **options)
        if frozen:
            for part in ("conv1", "layer1"):
                self.body.get_submodule(part).requires_grad_(False)

    @property
    def channels(self) -> list[int]:
        found: list[int] = self.body.feature_info.channels()  # type: ignore[operator, union-attr]
        return found

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.body(images)
        return maps


class _FrozenNorm(FrozenBatchNorm2d):
    """torchvision's, that lets timm say where and in which type it is made."""

    def __init__(self, channels: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__(channels)
        self.to(device=device, dtype=dtype)
