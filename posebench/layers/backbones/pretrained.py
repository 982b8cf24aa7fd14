"""Weights of others: timm's trunks with ImageNet weights, and checkpoints that lie at a URL."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from posebench.errors import ModelError

_PATIENCE = 20.0  # seconds that a server may be silent; by default, for ever

_NARROW = {"model_name": "resnet10t", "channels": (32, 64, 128, 256), "stem_width": 16}
# Trunks that learn in minutes on two CPU cores: one narrow block in each stage, or what stands for
# deeper and other trunks where a study compares them.
_TINY: dict[str, dict[str, Any]] = {
    "resnet_tiny": _NARROW,
    "resnet_tiny_2": {**_NARROW, "layers": (2, 2, 2, 2)},
    "resnet_tiny_3": {**_NARROW, "layers": (3, 3, 3, 3)},
    "resnext_tiny": {
        "model_name": "resnext50_32x4d", "layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128),
        "cardinality": 8, "base_width": 16,
    },
    "densenet_tiny": {
        "model_name": "densenet121", "growth_rate": 16, "block_config": (2, 2, 4, 2),
    },
    "swin_tiny": {
        "model_name": "swin_tiny_patch4_window7_224", "embed_dim": 32, "depths": (1, 1, 2, 1),
        "num_heads": (1, 2, 4, 8),
    },
    "swin_tiny_wide": {
        "model_name": "swin_tiny_patch4_window7_224", "embed_dim": 64, "depths": (2, 2, 4, 2),
        "num_heads": (2, 4, 8, 16),
    },
}  # fmt: skip


def timm_backbone(name: str, *, pretrained: bool, **options: Any) -> nn.Module:
    """Return timm's network of this name, or a tiny one, as a pyramid of maps.

    Raises:
        ModelError: ImageNet weights are wanted and cannot be had.
    """
    if name in _TINY and pretrained:
        raise ModelError(f"There are no ImageNet weights for {name}: add --no-pretrained.")
    named = {"model_name": name, **_TINY.get(name, {})}
    try:
        trunk: nn.Module = timm.create_model(
            features_only=True, pretrained=pretrained, **named, **options
        )
    except Exception as error:
        if not pretrained:
            raise
        # timm raises whatever its download library does; any failure here means no weights.
        raise ModelError(
            f"The ImageNet weights of {name} could not be downloaded ({type(error).__name__}). "
            "Connect to the network, or add --no-pretrained to start from random weights."
        ) from error
    return trunk


def downloaded(url: str) -> dict[str, Tensor]:
    """Return the state dict that lies at a URL; what was downloaded once is kept by torch.hub.

    Raises:
        ModelError: it is not kept and cannot be downloaded, or is damaged.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        weights: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url,
            map_location="cpu",
            progress=sys.stderr.isatty(),
            check_hash=True,
            weights_only=True,
        )
    except Exception as error:  # of networks, files and unpacking; any failure means no weights
        kept = Path(torch.hub.get_dir()) / "checkpoints"
        raise ModelError(
            f"The weights {url} could not be downloaded ({type(error).__name__}): connect to the "
            f"network, or fetch that file elsewhere and put it into {kept}."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return weights
